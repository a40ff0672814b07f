import { randomUUID } from 'node:crypto';
import {
  Background,
  InvalidOptionError,
  IsolatedEmitter,
  systemClock,
  toMilliseconds,
  type Clock,
  type Closeable,
  type CloseOptions,
  type Duration,
  type HealthIndicator,
  type Logger,
  type RedisOption,
  type Timer,
} from '@xiaoke/core';
import { RedisSubscriber } from '@xiaoke/core/redis';
import type {
  SharedCircuitMember,
  SharedCircuitMembership,
  SharedCircuits,
} from '../breaker/shared-circuits.ts';
import { checkNumber, checkObject } from '../options.ts';
import { RedisCircuitMember, type GroupSettings } from './redis-circuit-member.ts';
import { RedisLink } from './redis-link.ts';

/** Options of {@link createSharedCircuits}. */
export interface SharedCircuitsOptions {
  readonly redis: RedisOption;
  /** @default 'default' */
  readonly namespace?: string | undefined;
  /**
   * How many processes must have opened a circuit of their own before it opens for all: at least `min`, and the share `share`
   * of those that are alive. One bad machine therefore opens nothing for the others. @default { min: 2, share: 0.3 }
   */
  readonly quorum?: { readonly min?: number | undefined; readonly share?: number | undefined } | undefined;
  /** How often the group is looked at; messages are faster, but may get lost. @default '1s' */
  readonly pollInterval?: Duration | undefined;
  /** How long one process may try its probes before another is let. @default '10s' */
  readonly probeLease?: Duration | undefined;
  readonly logger?: Logger | undefined;
  readonly clock?: Clock | undefined;
}

/** What {@link RedisSharedCircuits} emits. */
export interface SharedCircuitsEvents {
  /** Redis cannot be reached: every circuit judges for itself until it can. */
  local: [];
  /** Redis is there again. */
  shared: [];
}

/** Circuits shared through Redis. */
export interface RedisSharedCircuits extends SharedCircuits, Closeable {
  /** Whether Redis answers; if not, every circuit judges for itself. */
  readonly connected: boolean;
  healthIndicator(): HealthIndicator;
  on<K extends keyof SharedCircuitsEvents>(
    event: K,
    listener: (...args: SharedCircuitsEvents[K]) => unknown,
  ): this;
}

/**
 * Lets the processes of a service share openings: when enough of them have opened a circuit of the same name, it opens for all;
 * then one process at a time probes for all. Each keeps its own counts, every message travels beside the calls, and no call ever
 * waits for Redis. Without Redis every circuit is as if it were alone.
 *
 * @throws InvalidOptionError for a bad option
 * @example
 * ```ts
 * import { circuitBreaker, createSharedCircuits } from '@xiaoke/resilience';
 * const shared = createSharedCircuits({ redis: 'redis://localhost:6379' });
 * const breaker = circuitBreaker({ name: 'billing', shared });
 * console.log(breaker.state); // => closed
 * await shared.close();
 * ```
 */
export function createSharedCircuits(options: SharedCircuitsOptions): RedisSharedCircuits {
  return new RedisGroup(options);
}

const COMMAND_TIMEOUT = 1_000;

class RedisGroup implements RedisSharedCircuits {
  readonly #link: RedisLink;
  readonly #settings: GroupSettings;
  readonly #background: Background;
  readonly #emitter: IsolatedEmitter<SharedCircuitsEvents>;
  readonly #members = new Set<RedisCircuitMember>();
  readonly #logger: Logger | undefined;
  readonly #clock: Clock;
  #subscriber: RedisSubscriber | undefined = undefined;
  #poll: Timer | undefined = undefined;
  #connected = true;
  #closed = false;

  constructor(options: SharedCircuitsOptions) {
    checkObject('', options, [
      'redis',
      'namespace',
      'quorum',
      'pollInterval',
      'probeLease',
      'logger',
      'clock',
    ]);
    const { redis, namespace = 'default', logger, clock = systemClock, quorum = {} } = options;
    if (redis === undefined) throw new InvalidOptionError('redis', 'must say where Redis is');
    this.#logger = logger;
    this.#clock = clock;
    this.#settings = Object.freeze({
      process: randomUUID(),
      namespace,
      quorumMin: checkNumber('quorum.min', quorum.min ?? 2, { min: 1, integer: true }),
      quorumShare: checkNumber('quorum.share', quorum.share ?? 0.3, { min: 0, max: 1 }),
      pollMs: toMilliseconds(options.pollInterval ?? '1s', 'pollInterval', { min: 10 }),
      leaseMs: toMilliseconds(options.probeLease ?? '10s', 'probeLease', { min: 10 }),
      clock,
    });
    this.#link = new RedisLink({ redis, timeout: COMMAND_TIMEOUT, logger });
    this.#background = new Background({ logger });
    this.#emitter = new IsolatedEmitter({ logger });
  }

  get connected(): boolean {
    return this.#connected;
  }

  join(member: SharedCircuitMember): SharedCircuitMembership {
    if (this.#closed) throw new InvalidOptionError('shared', 'is closed');
    const joined = new RedisCircuitMember(member, this.#link, this.#settings, {
      run: (work, reason) => this.#background.run(() => this.#watched(work), reason),
    });
    this.#members.add(joined);
    this.#start(joined);
    return joined;
  }

  on<K extends keyof SharedCircuitsEvents>(
    event: K,
    listener: (...args: SharedCircuitsEvents[K]) => unknown,
  ): this {
    this.#emitter.on(event, listener);
    return this;
  }

  healthIndicator(): HealthIndicator {
    return {
      name: 'shared-circuits',
      check: async () =>
        this.#connected ? { status: 'healthy' } : { status: 'degraded', code: 'REDIS_UNAVAILABLE' },
    };
  }

  async close(options: CloseOptions = {}): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const timeout = toMilliseconds(options.timeout ?? 1_000, 'timeout');
    this.#poll?.cancel();
    this.#subscriber?.close();
    for (const member of this.#members) member.leave();
    await this.#background.settled(timeout);
    await this.#link.close(timeout);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #start(member: RedisCircuitMember): void {
    this.#poll ??= this.#clock.setInterval(() => this.#lookAll(), this.#settings.pollMs).unref();
    member.look();
    this.#background.run(() => this.#watched(() => this.#subscribe(member)), 'subscribe to a circuit');
  }

  async #subscribe(member: RedisCircuitMember): Promise<void> {
    const connection = await this.#link.connection();
    if (this.#closed) return;
    this.#subscriber ??= new RedisSubscriber(connection, {
      onGap: () => this.#lookAll(),
      logger: this.#logger,
    });
    // A member that could not be subscribed now is once the server is there; polling serves it meanwhile.
    await this.#subscriber.subscribe(member.channel, () => member.look()).catch(() => {});
  }

  #lookAll(): void {
    for (const member of this.#members) member.look();
  }

  /** Runs work that asks Redis, and notices when Redis goes and comes. Being alone is no error. */
  async #watched(work: () => Promise<void>): Promise<void> {
    let connected = true;
    try {
      await work();
    } catch {
      connected = false;
    }
    if (connected === this.#connected || this.#closed) return;
    this.#connected = connected;
    this.#logger?.warn({ connected }, connected ? 'circuits are shared again' : 'circuits judge alone');
    this.#emitter.emit(connected ? 'shared' : 'local');
  }
}
