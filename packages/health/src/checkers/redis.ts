import { InvalidOptionError, type RedisOption } from '@xiaoke/core';
import { isRedisClient, openRedis, type RedisConnection, type RedisLike } from '@xiaoke/core/redis';
import type { CheckOutcome } from '../check-result.ts';
import type { CheckContext, HealthChecker } from '../checker.ts';
import { isNameBefore } from './naming.ts';

/** A URL, ioredis options, or a client or Cluster of yours, of which a connection of the check's own is made. */
export type RedisTarget = RedisOption;

/** What Redis must be able to do. */
export interface RedisCheckerOptions {
  /** `readable` accepts a replica whose link is up. @default 'writable' */
  readonly require?: 'writable' | 'readable';
  /** The share of `maxmemory` from which it is degraded, where nothing may be evicted. @default 0.9 */
  readonly memoryWarning?: number;
}

/**
 * Looks whether Redis can do its work: a PONG is no health, since it comes from a server that refuses every write. Reads
 * INFO; where the ACL allows PING only, PING has to do.
 */
export class RedisHealthChecker implements HealthChecker {
  readonly name: string;
  readonly kind = 'dependency';
  readonly #target: RedisTarget;
  readonly #options: RedisCheckerOptions;
  #connection: Promise<RedisConnection> | undefined;
  #client: RedisLike | undefined;

  constructor(target: RedisTarget, options?: RedisCheckerOptions);
  constructor(name: string, target: RedisTarget, options?: RedisCheckerOptions);
  constructor(...args: readonly unknown[]) {
    const named = isNameBefore(args[0], args[1]) && isTarget(args[1]);
    const [name, target, given] = named ? args : ['redis', ...args];
    const options = (given ?? {}) as RedisCheckerOptions;
    const required: unknown = options.require ?? 'writable';
    if (required !== 'writable' && required !== 'readable') {
      throw new InvalidOptionError('require', "must be 'writable' or 'readable'");
    }
    checkTarget(target);
    const { memoryWarning = 0.9 } = options;
    if (!(memoryWarning > 0 && memoryWarning <= 1))
      throw new InvalidOptionError('memoryWarning', 'must be a share above 0 and up to 1');
    this.name = name as string;
    this.#target = target as RedisTarget;
    this.#options = options;
  }

  async check({ signal, phase }: CheckContext): Promise<CheckOutcome> {
    phase('connect');
    const connection = await this.#open();
    const client = (this.#client ??= connection.duplicate(PROBE));
    const drop = (): void => this.#drop(client);
    signal.addEventListener('abort', drop, { once: true });
    try {
      // The deadline may have passed while the driver was loaded; nobody would cut what is begun after it.
      signal.throwIfAborted();
      if (client.status === 'wait' || client.status === 'end') await client.connect();
      phase('command');
      return connection.cluster ? await clusterHealth(client) : await this.#serverHealth(client);
    } catch (error) {
      drop();
      return { status: 'unhealthy', code: codeOf(error) };
    } finally {
      signal.removeEventListener('abort', drop);
    }
  }

  async close(): Promise<void> {
    if (this.#client) this.#drop(this.#client);
    const connection = await this.#connection?.catch(() => undefined);
    await connection?.close();
  }

  #open(): Promise<RedisConnection> {
    this.#connection ??= openRedis(this.#target, {
      load: () => import('ioredis'),
      option: 'target',
      overrides: PROBE,
    });
    return this.#connection;
  }

  // ioredis keeps a command that timed out in its queue; only cutting the connection lets go of it.
  #drop(client: RedisLike): void {
    if (this.#client === client) this.#client = undefined;
    client.disconnect();
  }

  async #serverHealth(client: RedisLike): Promise<CheckOutcome> {
    try {
      return this.#judge(parseInfo(String(await client.call('INFO'))));
    } catch (error) {
      if (!messageOf(error).startsWith('NOPERM')) throw error;
      await client.call('PING');
      return { status: 'healthy', observed: { limitedByAcl: true } };
    }
  }

  #judge(info: ReadonlyMap<string, string>): CheckOutcome {
    const role = info.get('role') ?? 'master';
    const observed = { role, usedMemoryBytes: Number(info.get('used_memory') ?? 0) };
    const writable = (this.#options.require ?? 'writable') === 'writable';
    const found =
      roleProblem(info, role === 'slave', writable) ??
      memoryProblem(info, writable, this.#options.memoryWarning ?? 0.9) ??
      diskProblem(info);
    return { ...(found ?? { status: 'healthy' }), observed };
  }
}

function checkTarget(target: unknown): void {
  if (typeof target === 'string' && /^rediss?:\/\/\S+$/.test(target)) return;
  if (typeof target === 'object' && target !== null && !Array.isArray(target)) return;
  // A URL may hold a password, so it is not repeated.
  throw new InvalidOptionError(
    'target',
    'must be a redis:// or rediss:// URL, ioredis options or an ioredis client',
  );
}

/** Options of a check say nothing of a place; those of ioredis do. */
function isTarget(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return typeof value === 'string';
  return isRedisClient(value) || PLACES.some((place) => place in value);
}

const PLACES = ['host', 'port', 'path', 'sentinels', 'db', 'username', 'password'];

type Info = ReadonlyMap<string, string>;

function roleProblem(info: Info, replica: boolean, writable: boolean): CheckOutcome | undefined {
  if (info.get('loading') === '1') return { status: 'unhealthy', code: 'LOADING' };
  if (!replica) return undefined;
  if (writable) return { status: 'unhealthy', code: 'READONLY' };
  return info.get('master_link_status') === 'up'
    ? undefined
    : { status: 'degraded', code: 'REPLICA_LINK_DOWN' };
}

// Where old keys may be evicted, a full memory is how a cache works.
function memoryProblem(info: Info, writable: boolean, warning: number): CheckOutcome | undefined {
  const limit = Number(info.get('maxmemory') ?? 0);
  if (limit === 0 || info.get('maxmemory_policy') !== 'noeviction') return undefined;
  const share = Number(info.get('used_memory') ?? 0) / limit;
  if (share >= 1 && writable) return { status: 'unhealthy', code: 'OUT_OF_MEMORY' };
  return share >= warning ? { status: 'degraded', code: 'MEMORY_LOW' } : undefined;
}

function diskProblem(info: Info): CheckOutcome | undefined {
  if (info.get('aof_last_write_status') === 'err') return { status: 'unhealthy', code: 'APPEND_ONLY_FAILED' };
  return info.get('rdb_last_bgsave_status') === 'err'
    ? { status: 'degraded', code: 'SNAPSHOT_FAILED' }
    : undefined;
}

// No queue, no retries, no reconnecting behind our back: a probe either gets an answer now or is told that there is none.
const PROBE = {
  lazyConnect: true,
  enableOfflineQueue: false,
  maxRetriesPerRequest: 0,
  autoResendUnfulfilledCommands: false,
  enableReadyCheck: false,
  retryStrategy: () => null,
} as const;

async function clusterHealth(client: RedisLike): Promise<CheckOutcome> {
  const info = parseInfo(String(await client.call('CLUSTER', 'INFO')));
  const failed = Number(info.get('cluster_slots_fail') ?? 0);
  const observed = { slotsOk: Number(info.get('cluster_slots_ok') ?? 0), slotsFailed: failed };
  if (info.get('cluster_state') !== 'ok') return { status: 'unhealthy', code: 'CLUSTER_DOWN', observed };
  return failed > 0
    ? { status: 'degraded', code: 'SLOTS_FAILED', observed }
    : { status: 'healthy', observed };
}

function parseInfo(text: string): ReadonlyMap<string, string> {
  const pairs = text.split(/\r?\n/).flatMap((line) => {
    const colon = line.indexOf(':');
    return colon > 0 ? [[line.slice(0, colon), line.slice(colon + 1)] as const] : [];
  });
  return new Map(pairs);
}

function codeOf(error: unknown): string {
  const message = messageOf(error);
  if (/^(WRONGPASS|NOAUTH)/.test(message)) return 'AUTH';
  if (/^(LOADING|MASTERDOWN|READONLY|MISCONF|OOM|CLUSTERDOWN|NOPERM)/.test(message))
    return message.split(' ')[0] ?? 'FAILED';
  return 'CONNECT';
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : '';
}
