import type { Clock, Logger } from '@xiaoke/core';
import type { RedisArgument, RedisConnection, RedisLike, RedisScript } from '@xiaoke/core/redis';
import { RedisSubscriber } from '@xiaoke/core/redis';
import type {
  Asking,
  BackendListener,
  Busy,
  Grant,
  HolderEdges,
  HoldRef,
  HoldRequest,
  Instant,
  LockBackend,
  Renewal,
  RenewRequest,
  Resource,
  ResourceRecord,
  WaitEdge,
} from '../backend.ts';
import { FastLane } from './fast-lane.ts';
import { readEdges, writeEdge } from './redis-edges.ts';
import { RedisKeys } from './redis-keys.ts';
import { deliver } from './redis-message.ts';
import { classify, encodeOwner, parseInspection } from './redis-reply.ts';
import { scanResources } from './redis-scan.ts';
import { runForNumbers, scripts } from './script-set.ts';

/** What the backend needs beside its connection. */
export interface RedisBackendOptions {
  readonly namespace: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly commandTimeout: number;
}

/** How long a waiter that shows no interest counts as alive, in milliseconds. */
export const WAITER_TTL = 7_500;
/** How long readers hold back for a writer that tries again and again, in milliseconds: several of its pauses. */
const WISH_TTL = 300;
/** How many holds one command renews at most. */
const RENEW_BATCH = 100;
/** How long the fence of a key outlives its last use in a Cluster; after that the server's clock is larger anyway. */
const FENCE_TTL = 7 * 24 * 3_600_000;

/** Holds in one Redis: a single server, a Sentinel group or a Cluster. */
export class RedisBackend implements LockBackend {
  readonly kind = 'redis';
  readonly tokensAreGlobal: boolean;
  readonly #connection: RedisConnection;
  readonly #client: RedisLike;
  readonly #keys: RedisKeys;
  readonly #options: RedisBackendOptions;
  readonly #fenceTtl: number;
  readonly #common: readonly RedisArgument[];
  readonly #subscriber: RedisSubscriber;
  readonly shortWay: FastLane;
  #listener: BackendListener | undefined;
  readonly #onGap = (): void => this.#listener?.onGap();

  constructor(connection: RedisConnection, options: RedisBackendOptions) {
    const { cluster } = connection;
    this.#connection = connection;
    this.#client = connection.client;
    this.#options = options;
    this.#keys = new RedisKeys(options.namespace, cluster);
    this.tokensAreGlobal = !cluster;
    this.#fenceTtl = cluster ? FENCE_TTL : 0;
    // In a Cluster PUBLISH counts the receivers of one node only, so it cannot tell that a waiter is dead.
    this.#common = [this.#keys.channelPrefix, cluster ? 0 : 1, this.#fenceTtl];
    const terms = { clock: options.clock, single: cluster, fenceTtl: this.#fenceTtl };
    this.shortWay = new FastLane(connection.client, this.#keys, terms);
    this.#subscriber = new RedisSubscriber(connection, {
      clock: options.clock,
      logger: options.logger,
      onGap: this.#onGap,
    });
  }

  async start(processId: string, listener: BackendListener): Promise<void> {
    this.#listener = listener;
    this.#client.on('ready', this.#onGap);
    const channel = this.#keys.channelPrefix + processId;
    await Promise.all([
      this.#attempt(async () => {
        if (this.#client.status === 'wait') await this.#client.connect();
      }),
      this.#attempt(() => this.#subscriber.subscribe(channel, (message) => deliver(message, listener))),
    ]);
  }

  async acquire(request: HoldRequest, { queue }: Asking): Promise<Grant | Busy> {
    const { resource, holdId, mode, lease, block, priority, urgent, weight, limit } = request;
    const asked = this.#instant();
    const reply = await this.#numbers(scripts.acquire, resource, [
      holdId,
      mode,
      lease,
      block,
      queue ? 1 : 0,
      WAITER_TTL,
      priority,
      urgent ? 1 : 0,
      weight,
      limit,
      encodeOwner(request.owner),
    ]);
    return answerOf(reply, lease, asked);
  }

  /**
   * Takes a hold if it is free, as one server of a quorum.
   *
   * @param wanted - asked before a second command is sent, where the server does not know the script
   */
  async attempt(request: HoldRequest, patient: boolean, wanted: () => boolean): Promise<Grant | Busy> {
    const { resource, holdId, mode, lease, block } = request;
    const from = this.#instant();
    const keys = [...this.#keys.all(resource), this.#keys.one(resource, 'i')];
    const args = [holdId, mode, lease, block, patient ? 1 : 0, WISH_TTL, encodeOwner(request.owner)];
    const reply = await this.#runIf(wanted, scripts.attempt, keys, [...this.#common, ...args]);
    return answerOf(reply as number[], lease, from);
  }

  /** @param wanted - as that of {@link attempt} */
  async cancel({ resource, holdId }: HoldRef, wanted: () => boolean = () => true): Promise<void> {
    await this.#runIf(wanted, scripts.cancel, this.#keys.all(resource), [...this.#common, holdId]);
  }

  async release({ resource, holdId }: HoldRef): Promise<boolean> {
    const [released] = await this.#numbers(scripts.release, resource, [holdId]);
    return released === 1;
  }

  async renew(holds: readonly RenewRequest[]): Promise<readonly (Renewal | Error)[]> {
    const answers = new Map<string, Promise<Renewal | Error>>();
    const exclusive = holds.filter(({ mode }) => mode === 'exclusive');
    for (const hold of holds) {
      if (hold.mode !== 'exclusive') answers.set(hold.holdId, settle(this.claim(hold, 0)));
    }
    // Keys of several slots cannot share a command.
    const size = this.#connection.cluster ? 1 : RENEW_BATCH;
    for (let start = 0; start < exclusive.length; start += size) {
      const batch = exclusive.slice(start, start + size);
      const renewed = this.#renewBatch(batch);
      for (const [index, hold] of batch.entries())
        answers.set(hold.holdId, settle(renewed.then((all) => pick(all, index))));
    }
    return await Promise.all(
      holds.map(({ holdId }) => answers.get(holdId) ?? Promise.resolve(new Error('not asked'))),
    );
  }

  async claim({ resource, holdId, lease }: RenewRequest, block: number): Promise<Renewal> {
    const from = this.#instant();
    const [held, contended, token = 0] = await this.#numbers(scripts.renew, resource, [holdId, lease, block]);
    return { held: held === 1, contended: contended === 1, token, from };
  }

  async raise(resource: Resource, token: number): Promise<void> {
    await this.#run(scripts.raise, [this.#keys.one(resource, 't')], [token, this.#fenceTtl]);
  }

  /** Raises past the tokens of a hold of a quorum, and writes down with which one it was handed out. */
  async confirm({ resource, holdId }: HoldRef, token: number, last: number): Promise<void> {
    const keys = (['t', 'x', 'h'] as const).map((suffix) => this.#keys.one(resource, suffix));
    await this.#run(scripts.raise, keys, [last, this.#fenceTtl, holdId, token]);
  }

  async upgrade({
    resource,
    holdId,
    lease,
    block,
    owner,
  }: HoldRequest): Promise<Grant | Busy | 'conflict' | 'lost'> {
    const from = this.#instant();
    const args = [holdId, lease, block, WAITER_TTL, encodeOwner(owner)];
    const reply = await this.#numbers(scripts.upgrade, resource, args);
    if (reply[0] === 2) return 'lost';
    return reply[0] === 3 ? 'conflict' : answerOf(reply, lease, from);
  }

  async downgrade({ resource, holdId, lease, owner }: HoldRequest): Promise<boolean> {
    const [held] = await this.#numbers(scripts.downgrade, resource, [holdId, lease, encodeOwner(owner)]);
    return held === 1;
  }

  async inspect(resource: Resource): Promise<ResourceRecord> {
    return parseInspection(resource, await this.#run(scripts.inspect, this.#keys.all(resource), []));
  }

  async *inspectAll(): AsyncIterable<ResourceRecord> {
    for await (const resource of scanResources(this.#connection, this.#keys)) {
      const record = await this.inspect(resource);
      if (record.holders.length + record.waiters.length > 0) yield record;
    }
  }

  async force(resource: Resource): Promise<number> {
    const [count = 0] = await this.#numbers(scripts.force, resource, []);
    return count;
  }

  async addEdge(resource: Resource, edge: WaitEdge): Promise<void> {
    await writeEdge(this.#client, this.#keys.one(resource, 'b'), edge);
  }

  async removeEdge(resource: Resource, attempt: string): Promise<void> {
    await this.#client.call('HDEL', this.#keys.one(resource, 'b'), attempt);
  }

  readEdges(resource: Resource): Promise<readonly HolderEdges[]> {
    const keys = (['x', 's', 'b'] as const).map((suffix) => this.#keys.one(resource, suffix));
    return readEdges(this.#client, keys);
  }

  async tellVictim(processId: string, attempt: string, cycle: string): Promise<void> {
    await this.#client.call('PUBLISH', this.#keys.channelPrefix + processId, `v|${attempt}|${cycle}`);
  }

  async check(signal: AbortSignal): Promise<'healthy' | 'unhealthy'> {
    try {
      if (signal.aborted) return 'unhealthy';
      await this.#client.call('PING');
      return 'healthy';
    } catch {
      return 'unhealthy';
    }
  }

  async close(timeout: number): Promise<void> {
    // The client may be the user's, and go on without us.
    this.#client.off('ready', this.#onGap);
    this.#subscriber.close();
    await this.#connection.close(timeout);
  }

  async #renewBatch(batch: readonly RenewRequest[]): Promise<readonly Renewal[]> {
    const from = this.#instant();
    const keys = batch.map(({ resource }) => this.#keys.one(resource, 'x'));
    const args = batch.flatMap(({ holdId, lease }) => [holdId, lease]);
    const states = await runForNumbers(scripts.renewMany, this.#client, keys, args).catch(rethrow);
    return states.map((state) => ({ held: state > 0, contended: state === 2, token: 0, from }));
  }

  #numbers(
    script: RedisScript,
    resource: Resource,
    args: readonly RedisArgument[],
  ): Promise<readonly number[]> {
    return runForNumbers(script, this.#client, this.#keys.all(resource), [...this.#common, ...args]).catch(
      rethrow,
    );
  }

  #run(script: RedisScript, keys: readonly string[], args: readonly RedisArgument[]): Promise<unknown> {
    return script.run(this.#client, keys, args).catch(rethrow);
  }

  /** Runs a script of which a server that does not know it is told again only if it is `wanted` still. */
  async #runIf(
    wanted: () => boolean,
    script: RedisScript,
    keys: readonly string[],
    args: readonly RedisArgument[],
  ): Promise<unknown> {
    try {
      return await this.#client.evalsha(script.sha, keys.length, ...keys, ...args);
    } catch (error) {
      if (!isNoScript(error) || !wanted()) throw classify(error);
      return await this.#run(script, keys, args);
    }
  }

  #instant(): Instant {
    return { monotonic: this.#options.clock.monotonic(), wall: this.#options.clock.now() };
  }

  /** Connecting goes on in the background when the server is away; nothing waits for it without a bound. */
  async #attempt(work: () => Promise<unknown>): Promise<void> {
    const { clock, commandTimeout, logger } = this.#options;
    const failed = (error: unknown): void => logger.warn({ err: error }, 'Redis is not there yet');
    await new Promise<void>((resolve) => {
      const timer = clock.setTimeout(resolve, commandTimeout);
      const done = (): void => {
        timer.cancel();
        resolve();
      };
      work().then(done, (error: unknown) => {
        failed(error);
        done();
      });
    });
  }
}

function answerOf(reply: readonly number[], lease: number, from: Instant): Grant | Busy {
  const [granted, second = 0, third = 0, serverTime = 0] = reply;
  if (granted === 1) return { kind: 'granted', token: second, lease, from, contended: third === 1 };
  return { kind: 'busy', retryAfter: second, position: third, from, serverTime };
}

function pick(all: readonly Renewal[], index: number): Renewal {
  const renewal = all[index];
  if (renewal === undefined) throw new Error('Redis answered for fewer holds than asked');
  return renewal;
}

function settle<T>(work: Promise<T>): Promise<T | Error> {
  return work.catch((error: unknown) => classify(error));
}

function rethrow(error: unknown): never {
  throw classify(error);
}

function isNoScript(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('NOSCRIPT');
}
