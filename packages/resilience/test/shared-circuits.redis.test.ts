import { chaosProxy, startRedis, type ChaosProxy, type RedisServer } from '@xiaoke/test-servers';
import { eventually, trackLeaks } from '@xiaoke/core/testing';
import { afterEach, beforeAll, afterAll, describe, expect, test } from 'vitest';
import {
  circuitBreaker,
  createResilienceManager,
  createSharedCircuits,
  type CircuitBreakerPolicy,
  type RedisSharedCircuits,
} from '@xiaoke/resilience';

interface Node {
  readonly shared: RedisSharedCircuits;
  readonly breaker: CircuitBreakerPolicy;
  /** What its dependency does. */
  works: boolean;
  ran: number;
  call(): Promise<string>;
}

let redis: RedisServer;
let namespace = '';
let nodes: Node[] = [];
beforeAll(async () => {
  redis = await startRedis();
});
afterAll(async () => {
  await redis[Symbol.asyncDispose]();
});
afterEach(async () => {
  await Promise.all(nodes.map(({ shared }) => shared.close()));
  nodes = [];
});

function makeNode(url: string, openFor = 400): Node {
  const shared = createSharedCircuits({ redis: url, namespace, pollInterval: 50, probeLease: 500 });
  const breaker = circuitBreaker({ name: 'billing', minimumCalls: 4, openFor, halfOpenCalls: 1, shared });
  const node: Node = {
    shared,
    breaker,
    works: true,
    ran: 0,
    call: () =>
      breaker
        .execute(() => {
          node.ran += 1;
          if (!node.works) throw Object.assign(new Error('down'), { code: 'DOWN' });
          return 'ok';
        })
        .catch((error: { code: string }) => error.code),
  };
  nodes.push(node);
  return node;
}

async function group(count: number, openFor?: number): Promise<Node[]> {
  namespace = `t${Math.random().toString(36).slice(2)}`;
  const made = Array.from({ length: count }, () => makeNode(redis.url, openFor));
  await eventually(
    async () => (await redis.cli('ZCARD', `xr:${namespace}:{billing}:members`)) === String(count),
  );
  return made;
}

async function trip(node: Node): Promise<void> {
  node.works = false;
  for (let call = 0; call < 4; call += 1) await node.call();
}

describe('a group of processes', () => {
  test('one bad machine opens nothing for the others', async () => {
    // Open for as long as the test looks: its vote ends with it.
    const [bad, ...good] = await group(4, 60_000);
    if (bad === undefined) throw new Error('no node');
    await trip(bad);
    expect(bad.breaker.state).toBe('open');
    await eventually(async () => (await redis.cli('ZCARD', `xr:${namespace}:{billing}:votes`)) === '1');
    // Several polls later still nobody has followed.
    const polled = Date.now() + 300;
    await eventually(() => Date.now() > polled);
    for (const node of good) expect([node.breaker.state, await node.call()]).toEqual(['closed', 'ok']);
  });

  test('when enough of them opened, it opens for all', async () => {
    const [first, second, third, fourth] = (await group(4, 60_000)) as [Node, Node, Node, Node];
    await trip(first);
    await trip(second);
    await eventually(() => third.breaker.state === 'open' && fourth.breaker.state === 'open');
    expect(await third.call()).toBe('CIRCUIT_OPEN');
    expect(third.breaker.stats().transitions.at(-1)).toMatchObject({ to: 'open', reason: 'shared' });
    expect(third.ran).toBe(0);
  });

  test('one process probes for all, and its success closes all', async () => {
    const members = await group(4);
    for (const node of members.slice(0, 2)) await trip(node);
    await eventually(() => members.every(({ breaker }) => breaker.state === 'open'));
    for (const node of members) {
      node.works = true;
      node.ran = 0;
    }
    await eventually(() => members.some(({ breaker }) => breaker.state === 'half-open'));
    const probing = members.filter(({ breaker }) => breaker.state === 'half-open');
    expect(probing).toHaveLength(1);
    await Promise.all(members.map((node) => node.call()));
    // Only the one that held the lease ran it.
    expect(members.reduce((sum, { ran }) => sum + ran, 0)).toBe(1);
    await eventually(() => members.every(({ breaker }) => breaker.state === 'closed'));
  });

  test('a probe that fails keeps it open for all', async () => {
    const members = await group(3);
    for (const node of members.slice(0, 2)) await trip(node);
    await eventually(() => members.every(({ breaker }) => breaker.state === 'open'));
    await eventually(() => members.some(({ breaker }) => breaker.state === 'half-open'));
    const prober = members.find(({ breaker }) => breaker.state === 'half-open');
    if (prober === undefined) throw new Error('nobody probes');
    prober.works = false;
    expect(await prober.call()).toBe('DOWN');
    await eventually(
      async () => (await redis.cli('HGET', `xr:${namespace}:{billing}:state`, 'generation')) === '2',
    );
    expect(members.filter(({ breaker }) => breaker.state === 'open')).toHaveLength(3);
  });

  test('a prober that dies leaves the probe to another', async () => {
    const members = await group(3);
    for (const node of members.slice(0, 2)) await trip(node);
    await eventually(() => members.some(({ breaker }) => breaker.state === 'half-open'));
    const prober = members.find(({ breaker }) => breaker.state === 'half-open');
    await prober?.shared.close();
    const others = members.filter((node) => node !== prober);
    await eventually(() => others.some(({ breaker }) => breaker.state === 'half-open'));
    for (const node of others) node.works = true;
    await Promise.all(others.map((node) => node.call()));
    await eventually(() => others.every(({ breaker }) => breaker.state === 'closed'));
  });
});

describe('without Redis', () => {
  // A refused connection; packets that vanish and come late; a server that is gone without a word, whose old connections
  // stay dead when it is back.
  const partitions: readonly (readonly [string, (proxy: ChaosProxy) => void])[] = [
    ['refused', (proxy) => (proxy.cut(), proxy.resetAll())],
    ['in a black hole', (proxy) => proxy.blackhole(true)],
    ['half-open', (proxy) => proxy.halfOpen(true)],
  ];
  test.each(partitions)(
    'a process cut off (%s) judges alone, says so, never waits, and follows the group again after',
    async (_, cutOff) => {
      const [first, second] = (await group(2)) as [Node, Node];
      await using proxy = await chaosProxy({ target: { host: '127.0.0.1', port: redis.port } });
      const events: string[] = [];
      const cut = makeNode(`redis://127.0.0.1:${proxy.port}`);
      cut.shared.on('local', () => events.push('local')).on('shared', () => events.push('shared'));
      await eventually(async () => (await redis.cli('ZCARD', `xr:${namespace}:{billing}:members`)) === '3');
      cutOff(proxy);
      await eventually(() => !cut.shared.connected, { timeout: 15_000 });
      await trip(first);
      await trip(second);
      await eventually(() => first.breaker.state !== 'closed');
      const begun = performance.now();
      expect(await cut.call()).toBe('ok');
      await trip(cut);
      expect(performance.now() - begun).toBeLessThan(500);
      expect(cut.breaker.state).toBe('open');
      cut.works = true;
      await eventually(async () => (await cut.call()) === 'ok', { timeout: 15_000 });
      first.works = true;
      second.works = true;
      await eventually(async () => (await first.call()) === 'ok', { timeout: 15_000 });
      await proxy.heal();
      await eventually(() => cut.shared.connected, { timeout: 20_000 });
      expect(events.slice(0, 2)).toEqual(['local', 'shared']);
      expect(await cut.shared.healthIndicator().check({ signal: new AbortController().signal })).toEqual({
        status: 'healthy',
      });
      // What was sent into the black hole has come late, and moved nothing: all are closed, and it follows the others.
      await eventually(() => [first, second, cut].every(({ breaker }) => breaker.state === 'closed'), {
        timeout: 15_000,
      });
      await trip(first);
      await trip(second);
      await eventually(() => cut.breaker.state !== 'closed', { timeout: 15_000 });
    },
    90_000,
  );

  test('no call ever waits for Redis: it hangs, and calls take no longer', async () => {
    await using own = await startRedis();
    namespace = 'hang';
    const node = makeNode(own.url);
    await node.call();
    own.pause();
    const longest = { ms: 0 };
    for (let call = 0; call < 2_000; call += 1) {
      const begun = performance.now();
      node.works = call % 3 !== 0;
      await node.call();
      longest.ms = Math.max(longest.ms, performance.now() - begun);
    }
    // A call that waited would wait for the second that a command may take.
    expect(longest.ms).toBeLessThan(500);
    // Forget the successes, so that four failures are enough.
    node.breaker.open();
    node.breaker.close();
    await trip(node);
    expect(node.breaker.state).toBe('open');
    own.resume();
  });

  test('a group that was open when Redis died opens and closes by itself', async () => {
    await using own = await startRedis();
    namespace = 'died';
    const members = [makeNode(own.url, 100), makeNode(own.url, 100)] as const;
    await eventually(async () => (await own.cli('ZCARD', 'xr:died:{billing}:members')) === '2');
    for (const node of members) await trip(node);
    await eventually(async () => (await own.cli('HGET', 'xr:died:{billing}:state', 'state')) === 'open');
    await own.kill();
    for (const node of members) node.works = true;
    await eventually(async () => (await members[0].call()) === 'ok');
    await eventually(async () => (await members[1].call()) === 'ok');
  });

  test('it starts with Redis down, and close() is quick', async () => {
    const manager = createResilienceManager({
      redis: 'redis://127.0.0.1:1',
      policies: { p: { circuitBreaker: {}, rateLimit: { limit: 5 } } },
    });
    const begun = performance.now();
    expect(await manager.get('p').execute(() => 'ok')).toBe('ok');
    await eventually(
      async () =>
        (await manager.healthIndicator().check({ signal: new AbortController().signal })).status ===
        'degraded',
    );
    await manager.close({ timeout: '500ms' });
    expect(performance.now() - begun).toBeLessThan(5_000);
  });
});

test('managers on one Redis share circuits and rate limits by name, unless a definition says otherwise', async () => {
  const options = {
    redis: redis.url,
    namespace: `m${Math.random().toString(36).slice(2)}`,
    quorum: { min: 1, share: 0 },
    policies: {
      shared: { circuitBreaker: { minimumCalls: 2 } },
      own: { circuitBreaker: { minimumCalls: 2, shared: false } },
      limited: { rateLimit: { limit: 1, per: '1h', onStoreError: 'deny' as const } },
    },
  };
  await using first = createResilienceManager(options);
  await using second = createResilienceManager(options);
  const code = (manager: typeof first, name: string, error?: Error): Promise<unknown> =>
    manager
      .get(name)
      .execute(() => (error === undefined ? 'ok' : Promise.reject(error)))
      .catch((caught: { code?: string }) => caught.code);
  const down = new Error('down');
  for (const name of ['shared', 'shared', 'own', 'own']) await code(first, name, down);
  await eventually(async () => (await code(second, 'shared')) === 'CIRCUIT_OPEN');
  expect([await code(first, 'own'), await code(second, 'own')]).toEqual(['CIRCUIT_OPEN', 'ok']);
  await eventually(async () => (await code(first, 'limited')) === 'ok');
  for (let call = 0; call < 20; call += 1) expect(await code(second, 'limited')).toBe('RATE_LIMITED');
});

test('nothing is left alive after close', async () => {
  const check = trackLeaks();
  namespace = 'leaks';
  const node = makeNode(redis.url);
  await trip(node);
  await eventually(async () => (await redis.cli('ZCARD', 'xr:leaks:{billing}:votes')) === '1');
  await node.shared.close();
  await node.shared.close();
  await check();
});

test.each([
  [{ redis: undefined as never }, 'redis'],
  [{ redis: 'redis://x', quorum: { min: 0 } }, 'quorum.min'],
  [{ redis: 'redis://x', quorum: { share: 2 } }, 'quorum.share'],
  [{ redis: 'redis://x', pollInterval: 1 }, 'pollInterval'],
])('the options %o are refused', (options, option) => {
  expect(() => createSharedCircuits(options)).toThrow(expect.objectContaining({ details: { option } }));
});
