import { chaosProxy, spawnNode, startRedis, type NodeProcess } from '@xiaoke/test-servers';
import { expect, test } from 'vitest';
import { judge, type Claim } from './referee/judge.ts';
import { freshNamespace } from './run-conformance.ts';

const SECTIONS = 20_000;
const pause = (milliseconds: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, milliseconds);
  });

test('the referee sees two holders at once, a reader beside a writer, and a token that went back', () => {
  const claim = (id: string, token: number, span: readonly [number, number], shared = false): Claim => {
    const [from, until] = span;
    return { id, key: 'k', shared, token, from, until };
  };
  const verdict = (...claims: Claim[]): number => judge(claims).violations.length;
  expect(verdict(claim('a', 1, [0, 10]), claim('b', 2, [10, 20]))).toBe(0);
  expect(verdict(claim('a', 1, [0, 10]), claim('b', 2, [9, 20]))).toBe(1);
  expect(verdict(claim('a', 1, [0, 10], true), claim('b', 2, [5, 20], true))).toBe(0);
  expect(verdict(claim('a', 1, [0, 10], true), claim('b', 2, [5, 20]))).toBe(1);
  expect(verdict(claim('a', 1, [0, 10]), claim('b', 2, [5, 20], true))).toBe(1);
  expect(verdict(claim('a', 2, [0, 10]), claim('b', 1, [10, 20]))).toBe(1);
  expect(verdict(claim('a', 2, [0, 10]), claim('b', 2, [10, 20]))).toBe(1);
  expect(verdict(claim('a', 3, [0, 1], true), claim('b', 2, [0.5, 1], true), claim('c', 4, [2, 3]))).toBe(0);
});

test(
  'over 20,000 critical sections of processes that are stopped and killed, with replies lost, scripts flushed, subscriptions cut and Redis restarted, a referee finds no two holders and no token out of order',
  { timeout: 280_000 },
  async () => {
    // With everysec Redis keeps back what it has acknowledged while the disk is slow, and loses it when it is killed.
    await using redis = await startRedis({ appendonly: 'everysec', args: ['--appendfsync', 'no'] });
    await using proxy = await chaosProxy({ target: redis });
    const namespace = freshNamespace();
    await using referee = spawnNode(new URL('./fixtures/referee.ts', import.meta.url));
    const { port } = await referee.message(({ kind }) => kind === 'ready');
    let started = 0;
    const enter = async (): Promise<NodeProcess> => {
      const args = [proxy.url('redis'), namespace, String(port), `p${(started += 1)}`];
      const contestant = spawnNode(new URL('./fixtures/contestant.ts', import.meta.url), { args });
      await contestant.message(({ kind }) => kind === 'ready', 30_000);
      return contestant;
    };
    const contestants = await Promise.all([enter(), enter(), enter()]);
    const faults: Record<string, () => Promise<unknown>> = {
      'a process stops for longer than its lease': async () => {
        const victim = contestants[started % contestants.length];
        victim?.pause();
        await pause(1_000);
        victim?.resume();
      },
      'replies are lost': async () => proxy.dropReplies(3),
      'a process is killed': async () => {
        const dead = contestants.shift();
        await dead?.kill('SIGKILL');
        contestants.push(await enter());
      },
      'the scripts are forgotten': () => redis.cli('SCRIPT', 'FLUSH'),
      'the subscriptions are cut': () => redis.cli('CLIENT', 'KILL', 'TYPE', 'pubsub'),
      'every connection is reset': async () => proxy.resetAll(),
      'Redis is frozen for longer than the lease': async () => {
        redis.pause();
        await pause(1_000);
        redis.resume();
      },
      'Redis is killed and comes back with its data': () => redis.restart(),
    };
    const counts = async (): Promise<number> => {
      const seen = referee.messages.length;
      referee.send({ kind: 'count' });
      const { ended } = await referee.message((message) => referee.messages.indexOf(message) >= seen);
      return Number(ended);
    };
    const injected: Record<string, number> = {};
    const names = Object.keys(faults);
    for (let round = 0; round < 2 * names.length || (await counts()) < SECTIONS; round += 1) {
      const name = names[round % names.length] ?? '';
      await faults[name]?.();
      injected[name] = (injected[name] ?? 0) + 1;
      await pause(400);
    }
    for (const contestant of contestants) contestant.send({ kind: 'stop' });
    // Scenario 26: an unhandled rejection would have ended one of them in another way.
    const exits = await Promise.all(contestants.map((contestant) => contestant.exited));
    expect(exits).toEqual(contestants.map(() => ({ code: 0, signal: null })));
    referee.send({ kind: 'judge' });
    const verdict = await referee.message(({ kind }) => kind === 'verdict', 30_000);
    expect(verdict['violations']).toEqual([]);
    expect(verdict['sections']).toBeGreaterThanOrEqual(SECTIONS);
    expect(Math.min(...names.map((name) => injected[name] ?? 0))).toBeGreaterThanOrEqual(2);
  },
);
