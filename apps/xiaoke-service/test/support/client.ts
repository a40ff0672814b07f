import { eventually } from '@xiaoke/core/testing';
import { traffic } from '../../src/traffic.ts';

/** No load balancer has to notice anything in a test. */
export const AT_ONCE = { XIAOKE_SERVICE__DRAIN_DELAY: '0s' } as const;

/** A request as the service shows it. */
export interface RequestView {
  readonly id: string;
  readonly state: string;
  readonly attempts: number;
  readonly result: { readonly slot?: { readonly slotId: string } } | null;
}

/** Talks to a running service. */
export class Client {
  readonly url: string;

  constructor(url: string) {
    this.url = url;
  }

  async call(path: string, init?: RequestInit): Promise<Response> {
    return await fetch(new URL(path, this.url), init);
  }

  async post(path: string, body: unknown, headers: Record<string, string> = {}): Promise<Response> {
    const init = {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify(body),
    };
    return await this.call(path, init);
  }

  /** The JSON that `path` answers with. */
  async json<T>(path: string): Promise<T> {
    return (await (await this.call(path)).json()) as T;
  }

  /** Sends a request and gives its task id. */
  async submit(body: unknown, headers: Record<string, string> = {}): Promise<string> {
    const response = await this.post('/medical-requests', body, headers);
    if (response.status !== 202) throw new Error(`answered ${response.status}: ${await response.text()}`);
    return ((await response.json()) as { taskId: string }).taskId;
  }

  /** Sends `count` realistic requests, twenty at a time. */
  async submitMany(count: number): Promise<readonly string[]> {
    const arrivals = traffic(Array.from({ length: 300 }, (_, n) => `user-${String(n + 1).padStart(4, '0')}`));
    const ids: string[] = [];
    const sender = async (): Promise<void> => {
      while (ids.length < count) {
        const place = ids.push('') - 1;
        ids[place] = await this.submit(arrivals.next().value);
      }
    };
    await Promise.all(Array.from({ length: 20 }, sender));
    return ids;
  }

  async view(id: string): Promise<RequestView> {
    return await this.json(`/medical-requests/${id}`);
  }

  /** Waits until every request is completed or waitlisted. */
  async ended(ids: readonly string[]): Promise<readonly RequestView[]> {
    return await eventually(
      async () => {
        const views = await Promise.all(ids.map((id) => this.view(id)));
        const open = views.filter(({ state }) => state !== 'completed' && state !== 'waitlisted');
        if (open.length > 0) throw new Error(`${open.length} requests are still ${open[0]?.state}`);
        return views;
      },
      { timeout: 60_000, interval: 250 },
    );
  }
}
