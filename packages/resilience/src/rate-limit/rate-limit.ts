import { InvalidOptionError, toMilliseconds, type Clock, type Duration } from '@xiaoke/core';
import type { Part } from '../engine/compile.ts';
import {
  BasePolicy,
  policyName,
  type Configurable,
  type Listenable,
  type Policy,
  type PolicyStats,
} from '../engine/policy.ts';
import { abortableSleep } from '../engine/scope-sleep.ts';
import type { Scope } from '../engine/scope.ts';
import { refuse, type REFUSED, type Stage } from '../engine/stage.ts';
import { RateLimitedError, withoutStack } from '../errors.ts';
import { checkChoice, checkNumber, checkObject } from '../options.ts';
import { Gcra, type Rate, type RateDecision } from './gcra.ts';
import type { RateLimitStore } from './rate-limit-store.ts';

/** Options of a rate limit that are plain data. */
export interface RateLimitDefinition {
  /** Calls … */
  readonly limit: number;
  /** … in this time. @default '1s' */
  readonly per?: Duration | undefined;
  /** So many may come at once after a pause. @default limit */
  readonly burst?: number | undefined;
  /** How long a call may wait for its turn instead of being refused. @default 0 */
  readonly maxWait?: Duration | undefined;
  /** When the store cannot be asked: limit in this process alone, let everything through, or nothing. @default 'local' */
  readonly onStoreError?: 'local' | 'allow' | 'deny' | undefined;
}

/** Options of {@link rateLimit}. */
export interface RateLimitOptions extends RateLimitDefinition {
  /** Also the key in the store. */
  readonly name?: string | undefined;
  /** Shares the limit between processes; see `createRedisRateLimitStore`. Without one it is this process's own. */
  readonly store?: RateLimitStore | undefined;
  readonly clock?: Clock | undefined;
}

/** What a {@link rateLimit} saw. */
export interface RateLimitStats extends PolicyStats {
  readonly kind: 'rateLimit';
  readonly limit: number;
  readonly perMs: number;
  readonly admitted: number;
  readonly waited: number;
  readonly rejected: number;
  /** Times that the store could not be asked. */
  readonly storeErrors: number;
}

/** The events of a {@link rateLimit}. */
export interface RateLimitEvents {
  storeError: [error: unknown];
}

/** A {@link rateLimit}. */
export interface RateLimitPolicy extends Policy, Configurable<RateLimitOptions>, Listenable<RateLimitEvents> {
  readonly kind: 'rateLimit';
  stats(): RateLimitStats;
}

interface Resolved {
  readonly rate: Rate;
  readonly maxWait: number;
  readonly onStoreError: 'local' | 'allow' | 'deny';
}

/**
 * Admits at most `limit` calls per `per`, smoothly (GCRA), and refuses the rest with `RATE_LIMITED` and the time at which
 * the next could come; with `maxWait`, calls wait for their turn. With a store, all processes share the limit.
 *
 * A call that is aborted while it waits does not give its turn back.
 *
 * @throws InvalidOptionError for a bad option
 * @example
 * ```ts run
 * import { rateLimit } from '@xiaoke/resilience';
 * const twice = rateLimit({ limit: 2, per: '1s' });
 * const call = () => twice.execute(() => 'ok').catch((error) => error.code);
 * console.log(await call(), await call(), await call()); // => ok ok RATE_LIMITED
 * ```
 */
export function rateLimit(options: RateLimitOptions): RateLimitPolicy {
  return new RateLimit(options);
}

class RateLimit extends BasePolicy<never, RateLimitEvents> implements RateLimitPolicy, Stage {
  readonly kind = 'rateLimit';
  readonly holdsUntilSettled = false;
  readonly #store: RateLimitStore | undefined;
  readonly #local = new Gcra();
  readonly #counts = { admitted: 0, waited: 0, rejected: 0, storeErrors: 0 };
  #options: Resolved;

  constructor(options: RateLimitOptions) {
    const resolved = resolveOptions(options);
    super(policyName('rateLimit', options.name), options.clock);
    if (options.store !== undefined && options.name === undefined)
      throw new InvalidOptionError('name', 'is needed with a store: it is the key that the processes share');
    this.#options = resolved;
    this.#store = options.store;
  }

  configure(options: RateLimitOptions): void {
    this.#options = resolveOptions(options);
  }

  enter(scope: Scope, now: number): undefined | typeof REFUSED | Promise<unknown> {
    if (this.#store !== undefined) return this.#askStore(this.#store, scope);
    return this.#follow(this.#local.take(this.#options.rate, now, this.#options.maxWait), scope);
  }

  leave(): void {}

  parts(): readonly Part[] {
    return [{ type: 'stage', stage: this, clock: this.clock }];
  }

  stats(): RateLimitStats {
    const { limit, perMs } = this.#options.rate;
    return { kind: this.kind, name: this.name, limit, perMs, ...this.#counts };
  }

  #follow({ granted, waitMs }: RateDecision, scope: Scope): undefined | typeof REFUSED | Promise<void> {
    if (!granted) return refuse(scope, this.#refusal(waitMs));
    this.#counts.admitted += 1;
    if (waitMs <= 0) return undefined;
    this.#counts.waited += 1;
    return abortableSleep(scope, waitMs, this.clock);
  }

  async #askStore(store: RateLimitStore, scope: Scope): Promise<unknown> {
    const { rate, maxWait } = this.#options;
    const decision = await withinScope(scope, this.#decide(store, rate, maxWait));
    return await this.#follow(decision, scope);
  }

  async #decide(store: RateLimitStore, rate: Rate, maxWait: number): Promise<RateDecision> {
    try {
      return await store.take(this.name, rate, maxWait);
    } catch (error) {
      this.#counts.storeErrors += 1;
      this.emit('storeError', error);
      const { onStoreError } = this.#options;
      if (onStoreError === 'local') return this.#local.take(rate, this.clock.monotonic(), maxWait);
      return { granted: onStoreError === 'allow', waitMs: 0 };
    }
  }

  #refusal(waitMs: number): RateLimitedError {
    this.#counts.rejected += 1;
    const { name: policy } = this;
    const { limit, perMs } = this.#options.rate;
    const message = `Rate limit "${policy}" of ${limit} per ${perMs} ms is reached`;
    const retryAfterMs = Math.max(1, Math.ceil(waitMs));
    return withoutStack(() => new RateLimitedError('RATE_LIMITED', message, { policy, retryAfterMs }));
  }
}

/** Settles as `work` does, or rejects at once when the scope is given up. */
function withinScope<T>(scope: Scope, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    scope.child = { cancel: reject };
    work.then(resolve, reject);
  });
}

function resolveOptions(options: RateLimitOptions): Resolved {
  checkObject('', options, ['name', 'clock', 'store', 'limit', 'per', 'burst', 'maxWait', 'onStoreError']);
  const limit = checkNumber('limit', options.limit, { min: 1e-6, max: 1e9 });
  const perMs = toMilliseconds(options.per ?? '1s', 'per', { min: 1 });
  const burst = checkNumber('burst', options.burst ?? Math.max(1, Math.floor(limit)), {
    min: 1,
    max: 1e9,
    integer: true,
  });
  return Object.freeze({
    rate: { limit, perMs, burst },
    maxWait: toMilliseconds(options.maxWait ?? 0, 'maxWait'),
    onStoreError: checkChoice('onStoreError', options.onStoreError ?? 'local', ['local', 'allow', 'deny']),
  });
}
