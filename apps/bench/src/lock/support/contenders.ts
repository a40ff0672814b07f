/** xiaoke and its peers behind one shape, each with a connection of its own to the same server. */
import { Redis } from 'ioredis';
// @ts-expect-error The typings that redlock 5 beta publishes cannot be found by nodenext.
import RedlockModule from 'redlock';
import { createLock, IoredisAdapter } from 'redlock-universal';
import { Mutex } from 'redis-semaphore';
import { createLockManager } from '@xiaoke/lock';

/** One library. */
export interface Contender {
  /** Waits for the lock; resolves to the function that gives it back. */
  readonly lock: (key: string) => Promise<() => Promise<unknown>>;
  /** A critical section that does nothing, in the library's shortest way. */
  readonly section: (key: string) => Promise<unknown>;
  /** The same with a fencing token, for a peer that gives none: a counter of the key, raised while the lock is held. */
  readonly fenced?: (key: string) => Promise<unknown>;
  close(): Promise<unknown>;
}

/** The names of the contenders. */
export const contenderNames = ['xiaoke', 'redlock', 'redis-semaphore', 'redlock-universal'] as const;

/** The name of a contender. */
export type ContenderName = (typeof contenderNames)[number];

type RedlockClass = new (
  clients: Redis[],
  settings: object,
) => {
  acquire(keys: string[], ttl: number): Promise<{ release(): Promise<unknown> }>;
  on(event: string, listener: () => void): void;
};

const Redlock = RedlockModule as RedlockClass;

const TTL = 30_000;
const LONG = 120_000;

/** Makes a contender with its own defaults, but waiting as long as it takes. */
export async function contender(name: ContenderName, url: string): Promise<Contender> {
  const made = await make(name, url);
  return { section: async (key) => await (await made.lock(key))(), ...made };
}

async function make(
  name: ContenderName,
  url: string,
): Promise<Omit<Contender, 'section'> & Partial<Contender>> {
  if (name === 'xiaoke') {
    const locks = await createLockManager({ redis: url, defaultWait: LONG, defaultTtl: TTL });
    return {
      lock: async (key) => {
        const lock = await locks.acquireLock(key);
        return () => lock.release();
      },
      section: (key) => locks.withLock(key, async () => {}),
      close: () => locks.close(),
    };
  }
  const client = new Redis(url);
  await client.ping();
  const close = (): Promise<unknown> => client.quit();
  const fencedBy = (lock: Contender['lock']) => async (key: string) => {
    const release = await lock(key);
    await client.incr(`fence:${key}`);
    await release();
  };
  if (name === 'redlock') {
    const redlock = new Redlock([client], { retryCount: -1 });
    // It emits an error for every busy lock.
    redlock.on('error', () => {});
    return {
      lock: async (key) => {
        const lock = await redlock.acquire([key], TTL);
        return () => lock.release();
      },
      close,
    };
  }
  if (name === 'redis-semaphore') {
    const lock: Contender['lock'] = async (key) => {
      const mutex = new Mutex(client, key, { lockTimeout: TTL, acquireTimeout: LONG });
      await mutex.acquire();
      return () => mutex.release();
    };
    return { lock, fenced: fencedBy(lock), close };
  }
  const adapter = new IoredisAdapter(client);
  const lock: Contender['lock'] = async (key) => {
    const made = createLock({ adapter, key, ttl: TTL, retryAttempts: 10_000, performance: 'lean' });
    const handle = await made.acquire();
    return () => made.release(handle);
  };
  return { lock, fenced: fencedBy(lock), close };
}
