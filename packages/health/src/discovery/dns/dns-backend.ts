import { Resolver } from 'node:dns/promises';
import type { ServiceReader, ServiceState } from '../backend.ts';
import { encodeInstance, resolveInstance, type Instance } from '../instance.ts';

/** The records that are asked for. */
export type DnsRecordType = 'SRV' | 'A' | 'AAAA';

/** How the DNS is asked. */
export interface DnsBackendOptions {
  readonly type: DnsRecordType;
  readonly port: number;
  readonly scheme: string;
  readonly nameOf: (service: string) => string;
  readonly servers: readonly string[] | undefined;
  readonly timeoutMs: number;
}

interface Answer {
  readonly instances: readonly Instance[];
  readonly lifeMs: number | undefined;
}

interface Known {
  readonly version: number;
  readonly text: string;
  readonly ids: readonly string[];
}

const MIN_LIFE = 1_000;
/** There is no such name, or none with such records. */
const EMPTY: ReadonlySet<unknown> = new Set(['ENOTFOUND', 'ENODATA']);
const MAX_WEIGHT = 1_000;
const MIN_WEIGHT = 0.01;

/** Reads services out of the DNS. A record that is gone has said goodbye; an answer without any is another matter. */
export class DnsBackend implements ServiceReader {
  readonly #options: DnsBackendOptions;
  readonly #asking = new Set<Resolver>();
  readonly #known = new Map<string, Known>();

  constructor(options: DnsBackendOptions) {
    this.#options = options;
  }

  async read(service: string): Promise<ServiceState> {
    const { instances, lifeMs } = await this.#ask(service);
    const text = JSON.stringify(instances.map(encodeInstance));
    const before = this.#known.get(service);
    const ids = instances.map(({ id }) => id);
    const version = before === undefined ? 1 : before.version + (before.text === text ? 0 : 1);
    this.#known.set(service, { version, text, ids });
    return {
      // Another epoch: nothing at all is no reason to believe that everybody left.
      epoch: ids.length === 0 && before !== undefined ? 'empty' : 'dns',
      version,
      nextExpiryMs: lifeMs,
      content: {
        records: instances.map((instance) => ({ id: instance.id, body: encodeInstance(instance) })),
        departed: ids.length === 0 ? [] : (before?.ids.filter((id) => !ids.includes(id)) ?? []),
      },
    };
  }

  async listen(): Promise<void> {
    // Nobody tells of changes here; they are found by looking again.
  }

  async unlisten(): Promise<void> {
    // As above.
  }

  close(): void {
    for (const resolver of this.#asking) resolver.cancel();
  }

  async #ask(service: string): Promise<Answer> {
    const { timeoutMs, servers, nameOf, type } = this.#options;
    // Its own resolver: it can be cancelled, and takes no thread from file access as dns.lookup() does.
    const resolver = new Resolver({ timeout: timeoutMs, tries: 1 });
    if (servers) resolver.setServers(servers);
    this.#asking.add(resolver);
    try {
      const name = nameOf(service);
      return type === 'SRV'
        ? this.#ofServices(service, await resolver.resolveSrv(name))
        : this.#ofAddresses(service, await addresses(resolver, type, name));
    } catch (error) {
      if (error instanceof Error && 'code' in error && EMPTY.has(error.code))
        return { instances: [], lifeMs: undefined };
      throw error;
    } finally {
      this.#asking.delete(resolver);
    }
  }

  #ofAddresses(
    service: string,
    records: readonly { readonly address: string; readonly ttl: number }[],
  ): Answer {
    const { port } = this.#options;
    const instances = records.map(({ address }) => this.#instance(service, address, port, 1));
    const life = Math.min(...records.map(({ ttl }) => ttl * 1_000));
    return { instances, lifeMs: Math.max(MIN_LIFE, life) };
  }

  #ofServices(
    service: string,
    records: readonly { name: string; port: number; priority: number; weight: number }[],
  ): Answer {
    const best = Math.min(...records.map(({ priority }) => priority));
    const chosen = records.filter(({ priority }) => priority === best);
    const most = Math.max(...chosen.map(({ weight }) => weight));
    const instances = chosen.map(({ name, port, weight }) => {
      // A weight of 0 means next to nothing beside others, and nothing in particular among its like.
      const share = most === 0 ? 1 : Math.max(MIN_WEIGHT, (weight / most) * (MAX_WEIGHT / 10));
      return this.#instance(service, name, port, share);
    });
    return { instances, lifeMs: undefined };
  }

  #instance(service: string, host: string, port: number, weight: number): Instance {
    const shown = host.includes(':') ? `[${host}]` : host;
    const url = `${this.#options.scheme}://${shown}:${port}`;
    return resolveInstance({ id: `${shown}:${port}`, service, url, weight }, 0);
  }
}

async function addresses(
  resolver: Resolver,
  type: 'A' | 'AAAA',
  name: string,
): Promise<readonly { readonly address: string; readonly ttl: number }[]> {
  return type === 'A'
    ? await resolver.resolve4(name, { ttl: true })
    : await resolver.resolve6(name, { ttl: true });
}
