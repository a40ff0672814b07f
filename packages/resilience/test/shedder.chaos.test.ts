import { Agent, request } from 'node:http';
import { spawnNode } from '@xiaoke/test-servers';
import { expect, test } from 'vitest';

// 500 requests a second for a process that can do 200 at the very most, in real time.
const RATE = 500;
const SECONDS = 5;

interface Result {
  readonly served: readonly number[];
  readonly refused: readonly number[];
}

async function flood(kind: 'shed' | 'plain'): Promise<Result> {
  const server = spawnNode(new URL('./fixtures/busy-server.ts', import.meta.url), { args: [kind] });
  const url = String((await server.message((message) => message['kind'] === 'ready'))['url']);
  const agent = new Agent({ keepAlive: true, maxSockets: Infinity });
  const served: number[] = [];
  const refused: number[] = [];
  const begun = performance.now();
  const elapsed = (): number => (performance.now() - begun) / 1_000;
  const calls: Promise<void>[] = [];
  while (elapsed() < SECONDS) {
    while (calls.length < elapsed() * RATE) {
      const at = performance.now();
      const late = elapsed() > 2;
      calls.push(
        ask(url, agent).then((status) => {
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
  const shed = await flood('shed');
  const plain = await flood('plain');
  expect(shed.refused.length).toBeGreaterThan(shed.served.length / 2);
  expect(shed.served.length).toBeGreaterThan(100);
  expect(p95(shed.served)).toBeLessThan(1_000);
  // The same without: hardly anything sent after two seconds is answered within the test.
  expect(plain.served.length === 0 || p95(plain.served) > p95(shed.served) * 2).toBe(true);
}, 60_000);
