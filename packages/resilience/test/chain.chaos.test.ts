import { request } from 'node:http';
import { spawnNode, type NodeProcess } from '@xiaoke/test-servers';
import { expect, test } from 'vitest';
import { nightly } from './support.ts';

// Three real processes: gateway, service, backend. The backend serves 100 a second; clients send 70 and wait 1.5 s.
// For two seconds it has a tenth of its workers.
const RATE = 70;
const SECONDS = nightly ? 40 : 12;
// A busy machine takes longer to come back; one that never does is not helped by this.
const PATIENCE = 45;
// Requests of the last two seconds may still be on their way.
const PENDING = 2;
const TROUBLE = [2, 4] as const;

interface Result {
  /** Answered in time, by the second in which they were sent, as a share. */
  readonly goodput: readonly number[];
  /** Requests that reached the backend per request of a client. */
  readonly amplification: number;
}

async function run(kind: 'naive' | 'resilient'): Promise<Result> {
  const hops: NodeProcess[] = [];
  const start = async (role: string, next = ''): Promise<string> => {
    const hop = spawnNode(new URL('./fixtures/hop.ts', import.meta.url), { args: [role, next] });
    hops.push(hop);
    return String((await hop.message((message) => message['kind'] === 'ready'))['url']);
  };
  const gateway = await start(kind, await start(kind, await start('backend')));
  const [backend] = hops;
  const good = Array.from({ length: PATIENCE }, () => 0);
  const isBack = (): boolean => {
    const now = Math.floor(elapsed()) - PENDING;
    return now - 3 >= TROUBLE[1] && good.slice(now - 3, now).every((count) => count >= 0.9 * RATE);
  };
  const begun = performance.now();
  const elapsed = (): number => (performance.now() - begun) / 1_000;
  let sent = 0;
  let told = '';
  const calls: Promise<void>[] = [];
  while (kind === 'naive' ? elapsed() < SECONDS : elapsed() < PATIENCE && !isBack()) {
    const state = elapsed() >= TROUBLE[0] && elapsed() < TROUBLE[1] ? 'slow' : 'normal';
    if (state !== told) backend?.send((told = state) as never);
    for (; sent < elapsed() * RATE; sent += 1) {
      const second = Math.min(PATIENCE - 1, Math.floor(elapsed()));
      calls.push(ask(gateway).then((ok) => void (good[second] = (good[second] ?? 0) + (ok ? 1 : 0))));
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  const seconds = Math.floor(elapsed()) - PENDING;
  await Promise.all(calls);
  backend?.send('count' as never);
  const served = Number((await backend?.message((message) => message['kind'] === 'count'))?.['served']);
  await Promise.all(hops.map((hop) => hop.kill()));
  return { goodput: good.slice(0, seconds).map((count) => count / RATE), amplification: served / sent };
}

function ask(url: string): Promise<boolean> {
  return new Promise((resolve) => {
    const call = request(url, { agent: false, timeout: 1_500 }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    const limit = setTimeout(() => call.destroy(), 1_500);
    call.once('close', () => {
      clearTimeout(limit);
      resolve(false);
    });
    call.once('error', () => resolve(false));
    call.end();
  });
}

const last = ({ goodput }: Result): number => goodput.slice(-3).reduce((sum, share) => sum + share, 0) / 3;

test('three hops that retry naively stay down after two bad seconds; with the policies of the package they come back', async () => {
  const naive = await run('naive');
  const resilient = await run('resilient');
  expect(last(naive)).toBeLessThan(0.3);
  expect(naive.amplification).toBeGreaterThan(2);
  expect(last(resilient)).toBeGreaterThanOrEqual(0.9);
  expect(resilient.amplification).toBeLessThanOrEqual(1.25);
}, 150_000);
