import { Agent, request } from 'node:http';
import { spawnNode, type NodeProcess } from '@xiaoke/test-servers';
import { expect, test } from 'vitest';

// Two and a half times what the process can do here and now, in real time: 200 a second at the very most.
const OVERLOAD = 2.5;
const SECONDS = 5;

interface Result {
  readonly served: readonly number[];
  readonly refused: readonly number[];
}

async function start(kind: 'shed' | 'plain'): Promise<{ server: NodeProcess; url: string }> {
  const server = spawnNode(new URL('./fixtures/busy-server.ts', import.meta.url), { args: [kind] });
  const { url } = await server.message((message) => message['kind'] === 'ready');
  return { server, url: String(url) };
}

/** What the server does for four callers that wait for their answers: requests a second, and the 95th percentile in ms. */
async function calibrate(): Promise<{ able: number; usual: number }> {
  const { server, url } = await start('plain');
  const agent = new Agent({ keepAlive: true });
  const took: number[] = [];
  const begun = performance.now();
  const caller = async (): Promise<void> => {
    while (performance.now() - begun < 1_500) {
      const at = performance.now();
      await ask(url, agent);
      took.push(performance.now() - at);
    }
  };
  await Promise.all(Array.from({ length: 4 }, caller));
  const able = (took.length * 1_000) / (performance.now() - begun);
  agent.destroy();
  await server.kill();
  return { able, usual: p95(took) };
}

/** Sends more than the server can do: more than it did before, or than it turns out to do on a machine that has become quieter. */
async function flood(kind: 'shed' | 'plain', able: number): Promise<Result> {
  const { server, url } = await start(kind);
  const agent = new Agent({ keepAlive: true, maxSockets: Infinity });
  const served: number[] = [];
  const refused: number[] = [];
  const begun = performance.now();
  const elapsed = (): number => (performance.now() - begun) / 1_000;
  const calls: Promise<void>[] = [];
  let done = 0;
  let due = 0;
  let last = 0;
  while (elapsed() < SECONDS) {
    const now = elapsed();
    due += (now - last) * OVERLOAD * Math.max(able, done / now);
    last = now;
    while (calls.length < due) {
      const at = performance.now();
      const late = elapsed() > 2;
      calls.push(
        ask(url, agent).then((status) => {
          if (status === 200) done += 1;
          // The first two seconds are for the measures to settle.
          if (late) (status === 200 ? served : refused).push(performance.now() - at);
        }),
      );
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await Promise.race([Promise.all(calls), new Promise((resolve) => setTimeout(resolve, 1_000))]);
  agent.destroy();
  await server.kill();
  return { served, refused };
}

function ask(url: string, agent: Agent): Promise<number> {
  return new Promise((resolve) => {
    const call = request(url, { agent }, (response) => {
      response.resume();
      response.once('end', () => resolve(response.statusCode ?? 0));
      response.once('error', () => resolve(0));
    });
    call.once('error', () => resolve(0));
    call.end();
  });
}

const p95 = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length * 0.95)] ?? Infinity;

test('an overloaded process answers what it takes in, fast, instead of everything, too late', async () => {
  const { able, usual } = await calibrate();
  const shed = await flood('shed', able);
  const plain = await flood('plain', able);
  expect(shed.refused.length).toBeGreaterThan(shed.served.length / 2);
  // In the last three of five seconds, a quarter of what it could do before at the very least.
  expect(shed.served.length).toBeGreaterThan(able * 0.75);
  expect(p95(shed.served)).toBeLessThan(Math.max(1_000, 10 * usual));
  // The same without: hardly anything sent after two seconds is answered within the test.
  expect(plain.served.length === 0 || p95(plain.served) > p95(shed.served) * 2).toBe(true);
}, 60_000);
