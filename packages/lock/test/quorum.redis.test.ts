import { InvalidOptionError } from '@xiaoke/core';
import { eventually } from '@xiaoke/core/testing';
import {
  chaosProxy,
  settableClock,
  startRedis,
  type ChaosProxy,
  type RedisServer,
} from '@xiaoke/test-servers';
import { expect, test } from 'vitest';
import {
  createLockManager,
  LockTimeoutError,
  LockType,
  UnsupportedError,
  type LockManager,
  type LockManagerOptions,
} from '../src/index.ts';
import { scripts } from '../src/redis/script-set.ts';
import { freshNamespace } from './run-conformance.ts';
import { toldAfter } from './told-after.ts';

const pause = (milliseconds: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, milliseconds);
  });

interface Quorum extends AsyncDisposable {
  readonly servers: readonly RedisServer[];
  manager(options?: Omit<LockManagerOptions, 'redis' | 'namespace'>): Promise<LockManager>;
}

/** @param urlOf - by which way a server is reached */
async function quorumOf(
  servers: readonly RedisServer[],
  urlOf: (server: RedisServer, index: number) => string,
): Promise<Quorum> {
  const namespace = freshNamespace();
  const managers: LockManager[] = [];
  return {
    servers,
    manager: async (options) => {
      const redis = { quorum: servers.map(urlOf) };
      const made = await createLockManager({ ...options, redis, namespace });
      managers.push(made);
      return made;
    },
    [Symbol.asyncDispose]: async () => {
      await Promise.all(managers.map((manager) => manager.close({ timeout: 500 })));
      await Promise.all(servers.map((server) => server.stop()));
    },
  };
}

async function startQuorum(size: number): Promise<Quorum> {
  const servers = await Promise.all(Array.from({ length: size }, () => startRedis()));
  return await quorumOf(servers, ({ url }) => url);
}

/** Three servers, the answers of one of which a test can hold up. */
async function startQuorumWithLateServer(): Promise<Quorum & { late: RedisServer; proxy: ChaosProxy }> {
  const servers = await Promise.all([startRedis(), startRedis(), startRedis()]);
  const late = at(servers, 2);
  const proxy = await chaosProxy({ target: late });
  const quorum = await quorumOf(servers, ({ url }, index) => (index === 2 ? proxy.url('redis') : url));
  return {
    ...quorum,
    late,
    proxy,
    [Symbol.asyncDispose]: async () => {
      await quorum[Symbol.asyncDispose]();
      await proxy[Symbol.asyncDispose]();
    },
  };
}

const at = (servers: readonly RedisServer[], index: number): RedisServer => {
  const server = servers[index];
  if (server === undefined) throw new RangeError(`no server ${index}`);
  return server;
};

/**
 * Enters so many critical sections, every so many-th of them to read only, and tells whether a writer was ever inside with anybody
 * else and whether every token
 * was larger than that of the last writer.
 */
async function hammer(
  managers: readonly LockManager[],
  sections: number,
  faults: Readonly<Record<number, () => unknown>> = {},
  readEvery: number = Infinity,
): Promise<void> {
  let [readers, writers] = [0, 0];
  let entered = 0;
  let lastToken = 0;
  const section = async (locks: LockManager, shared: boolean): Promise<void> => {
    const type = shared ? LockType.SHARED : LockType.EXCLUSIVE;
    await locks.withLock('k', { type, wait: 25_000 }, async (lock) => {
      if (shared) readers += 1;
      else writers += 1;
      entered += 1;
      expect(writers === 0 || (writers === 1 && readers === 0)).toBe(true);
      expect(lock.fencingToken).toBeGreaterThan(lastToken);
      if (!shared) lastToken = lock.fencingToken;
      await faults[entered]?.();
      await pause(1);
      if (shared) readers -= 1;
      else writers -= 1;
    });
  };
  const worker = async (locks: LockManager): Promise<void> => {
    for (let turn = 0; entered < sections; turn += 1)
      await section(locks, turn % readEvery === readEvery - 1);
  };
  await Promise.all(managers.flatMap((locks) => [worker(locks), worker(locks), worker(locks)]));
}

test(
  'scenario 24: with 1 of 3 servers killed, locks exclude each other and tokens grow',
  { timeout: 60_000 },
  async () => {
    await using quorum = await startQuorum(3);
    const managers = await Promise.all([quorum.manager(), quorum.manager()]);
    await hammer(managers, 90, { 20: () => at(quorum.servers, 1).kill() });
    expect(
      await managers[0]?.healthIndicator().check({ signal: new AbortController().signal }),
    ).toMatchObject({
      status: 'degraded',
    });
  },
);

test(
  'scenario 24: with 1 of 5 servers killed and 1 frozen, locks exclude each other and tokens grow',
  { timeout: 60_000 },
  async () => {
    await using quorum = await startQuorum(5);
    const managers = await Promise.all([quorum.manager(), quorum.manager()]);
    await hammer(managers, 90, {
      15: () => at(quorum.servers, 0).pause(),
      30: () => at(quorum.servers, 4).kill(),
      60: () => at(quorum.servers, 0).resume(),
    });
  },
);

test('scenario 24: with 1 of 5 servers cut off and the clock of another one set forward and back by an hour, locks exclude each other and tokens grow', async () => {
  const clock = await settableClock();
  const servers = await Promise.all(
    Array.from({ length: 5 }, (_, index) => startRedis(index === 1 ? { env: clock.env } : {})),
  );
  await using proxy = await chaosProxy({ target: at(servers, 3) });
  await using quorum = await quorumOf(servers, ({ url }, index) => (index === 3 ? proxy.url('redis') : url));
  const managers = await Promise.all([quorum.manager(), quorum.manager()]);
  await hammer(
    managers,
    120,
    {
      15: () => proxy.blackhole(true),
      30: () => clock.set(3_600),
      60: () => clock.set(0),
      90: () => proxy.heal(),
    },
    4,
  );
}, 60_000);

test('scenario 24: without a majority nothing is granted, and the holder is told before its lease can end', async () => {
  await using quorum = await startQuorum(3);
  const [locks, other] = await Promise.all([
    quorum.manager({ defaultTtl: 1_500 }),
    quorum.manager({ defaultTtl: 1_500 }),
  ]);
  const lock = await locks.acquireLock('k');
  const { signal } = lock;
  const renewals = locks.stats().renewals;
  await eventually(() => locks.stats().renewals > renewals, { interval: 1 });
  const deadline = 1_500 * 0.98;
  at(quorum.servers, 0).pause();
  await at(quorum.servers, 1).kill();
  // What was renewed while that took counts.
  const sent = performance.now() - (deadline - lock.remainingMs());
  const told = toldAfter(signal, { sent, deadline });
  expect(await told).toBeLessThan(1_500);
  expect(await told).toBeGreaterThan(1_275);
  await expect(other.acquireLock('k', { wait: 300 })).rejects.toThrow(/not free|No answer/);
  expect(await other.tryAcquireLock('free')).toBeUndefined();
  at(quorum.servers, 0).resume();
  await using next = await other.acquireLock('k', { wait: 20_000 });
  expect(next.fencingToken).toBeGreaterThan(lock.fencingToken);
});

test('scenario 11: 2 of 3 servers that restart without their data do not vote before every lease they forgot has ended', async () => {
  await using quorum = await startQuorum(3);
  const ttl = 3_000;
  const [locks, other] = await Promise.all([
    quorum.manager({ defaultTtl: ttl }),
    quorum.manager({ defaultTtl: ttl }),
  ]);
  const lock = await locks.acquireLock('k', { autoExtend: false });
  const restarted = performance.now();
  await Promise.all([at(quorum.servers, 0).restart(), at(quorum.servers, 2).restart()]);
  // Also a process that has never seen the servers before.
  const late = await quorum.manager({ defaultTtl: ttl });
  const winner = await Promise.any([
    other.acquireLock('k', { wait: 20_000 }),
    late.acquireLock('k', { wait: 20_000 }),
  ]);
  expect(lock.remainingMs()).toBe(0);
  expect(performance.now() - restarted).toBeGreaterThan(ttl * 0.9);
  expect(winner.fencingToken).toBeGreaterThan(lock.fencingToken);
});

test('servers may be restarted one after the other under a lock that is held', async () => {
  await using quorum = await startQuorum(3);
  const [locks, other] = await Promise.all([
    quorum.manager({ defaultTtl: 900 }),
    quorum.manager({ defaultTtl: 900 }),
  ]);
  const lock = await locks.acquireLock('k');
  for (const server of quorum.servers) {
    await server.restart();
    const renewals = locks.stats().renewals;
    await eventually(() => locks.stats().renewals >= renewals + 4);
    expect(await other.tryAcquireLock('k')).toBeUndefined();
  }
  lock.assertHeld();
  expect((await other.inspectLock('k')).holders).toHaveLength(1);
  expect(await lock.release()).toBe(true);
  await eventually(async () => (await (await other.tryAcquireLock('k'))?.release()) === true);
});

test.each([LockType.EXCLUSIVE, LockType.SHARED])(
  'inspection shows the token that the holder has, also when every server was restarted under its lock (%s)',
  async (type) => {
    await using quorum = await startQuorum(3);
    const [locks, other] = await Promise.all([
      quorum.manager({ defaultTtl: 3_000 }),
      quorum.manager({ defaultTtl: 3_000 }),
    ]);
    const lock = await locks.acquireLock('k', type);
    // Each look takes the first two answers of three.
    const look = async (): Promise<void> => {
      for (let times = 0; times < 30; times += 1) {
        const { holders } = await other.inspectLock('k');
        expect(holders.map(({ fencingToken }) => fencingToken)).toEqual([lock.fencingToken]);
      }
    };
    for (const server of quorum.servers) {
      await server.restart();
      await eventually(async () => (await server.cli('KEYS', '*:x')) !== '');
      await look();
    }
    lock.assertHeld();
    await lock.release();
    await using next = await other.acquireLock('k', { wait: 20_000 });
    expect(next.fencingToken).toBeGreaterThan(lock.fencingToken);
  },
);

test('whoever lost leaves no hold at a server that answers late and has forgotten the script', async () => {
  await using quorum = await startQuorumWithLateServer();
  const { late, proxy } = quorum;
  const [locks, other] = await Promise.all([quorum.manager(), quorum.manager()]);
  const lock = await locks.acquireLock('k');
  await late.cli('FLUSHALL');
  await late.cli('SCRIPT', 'FLUSH');
  await late.cli('SCRIPT', 'LOAD', scripts.cancel.source);
  proxy.delay({ reply: 100 });
  // The other two have refused it when this one says that it knows no such script.
  expect(await other.tryAcquireLock('k')).toBeUndefined();
  await pause(800);
  expect(await late.cli('KEYS', '*:x')).toBe('');
  lock.assertHeld();
});

test('an answer that comes after the release gives the hold back to nobody', async () => {
  await using quorum = await startQuorumWithLateServer();
  const { late, proxy } = quorum;
  const locks = await quorum.manager();
  const lock = await locks.acquireLock('k');
  await eventually(async () => expect(await late.cli('KEYS', '*:x')).toContain('{k}:x'));
  await late.cli('FLUSHALL');
  proxy.delay({ reply: 100 });
  // The other two have extended it when this one says that it knows nothing of it; by then it has been released.
  await lock.extend(20_000);
  await lock.release();
  await pause(500);
  expect(await late.cli('KEYS', '*:x')).toBe('');
});

test('giving an attempt back takes nothing from the next one, also at a server that has forgotten the script', async () => {
  await using quorum = await startQuorumWithLateServer();
  const { late, proxy } = quorum;
  const [locks, other] = await Promise.all([quorum.manager(), quorum.manager()]);
  const lock = await locks.acquireLock('k');
  await eventually(async () => expect(await late.cli('KEYS', '*:x')).toContain('{k}:x'));
  await late.cli('FLUSHALL');
  await late.cli('SCRIPT', 'FLUSH');
  for (const { source } of [scripts.attempt, scripts.raise, scripts.release])
    await late.cli('SCRIPT', 'LOAD', source);
  proxy.delay({ reply: 150 });
  // Its first attempt loses; that the late server does not know how to give it back is heard after another one was sent.
  const acquired = other.acquireLock('k', { wait: 10_000 });
  await pause(60);
  await lock.release();
  const next = await acquired;
  await pause(600);
  next.assertHeld();
  expect(await late.cli('GET', (await late.cli('KEYS', '*:x')).trim())).toContain(`|${next.fencingToken}|`);
});

test('a writer is not starved by readers who come and go at a quorum', async () => {
  await using quorum = await startQuorum(3);
  const [readers, writer] = await Promise.all([quorum.manager(), quorum.manager()]);
  let stop = false;
  const read = async (): Promise<void> => {
    while (!stop) {
      await readers.withLock('k', { type: LockType.SHARED, wait: 20_000 }, async () => {
        await new Promise((resolve) => setTimeout(resolve, 5));
      });
    }
  };
  const reading = [read(), read(), read(), read()];
  await new Promise((resolve) => setTimeout(resolve, 50));
  await writer.withLock('k', { wait: 5_000 }, async () => {});
  stop = true;
  await Promise.all(reading);
});

test('two processes take turns on a contended key of a quorum', async () => {
  await using quorum = await startQuorum(3);
  const managers = await Promise.all([quorum.manager(), quorum.manager()]);
  const shares = [0, 0];
  let left = 200;
  const worker = async (index: number): Promise<void> => {
    while (left > 0) {
      await managers[index]?.withLock('k', { wait: 25_000 }, async () => {
        left -= 1;
        shares[index] = (shares[index] ?? 0) + 1;
        await new Promise((resolve) => setTimeout(resolve, 1));
      });
    }
  };
  await Promise.all([0, 0, 0, 0, 1, 1, 1, 1].map((index) => worker(index)));
  expect(Math.min(...shares)).toBeGreaterThan(0.1 * Math.max(...shares));
});

test('a majority cannot be configured away, and what is unsound over a quorum is refused', async () => {
  await using quorum = await startQuorum(3);
  const urls = quorum.servers.map(({ url }) => url);
  const refused = async (redis: unknown, option: string): Promise<void> => {
    await expect(createLockManager({ redis: redis as never })).rejects.toMatchObject({
      code: 'INVALID_OPTION',
      details: { option },
    });
  };
  await refused({ quorum: [] }, 'redis.quorum');
  await refused({ quorum: urls.slice(1) }, 'redis.quorum');
  await refused({ quorum: [urls[0], urls[1], urls[1]] }, 'redis.quorum');
  await refused({ quorum: 'redis://localhost' }, 'redis.quorum');
  await refused({ quorum: [...urls, 'http://x'] }, 'redis.quorum[3]');
  await refused({ quorum: urls, majority: 1 }, 'redis.majority');
  const locks = await quorum.manager();
  expect(() => locks.semaphore('s', 3)).toThrow(UnsupportedError);
  await expect(locks.acquireLock('')).rejects.toThrow(InvalidOptionError);
  const lock = await locks.acquireLock('k', { ttl: 2_000 });
  // Less than the lease, by the margin for clocks that run at different rates.
  expect(lock.remainingMs()).toBeLessThanOrEqual(2_000 * 0.98);
  await expect(locks.acquireLock('k', { wait: 0 })).rejects.toThrow(LockTimeoutError);
});
