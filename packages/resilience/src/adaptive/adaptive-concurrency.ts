import { InvalidOptionError, toMilliseconds, type Clock, type Duration } from '@xiaoke/core';
import { WaitQueue, type QueueOrder } from '../bulkhead/wait-queue.ts';
import type { Part } from '../engine/compile.ts';
import { BasePolicy, policyName, type Listenable, type Policy, type PolicyStats } from '../engine/policy.ts';
import type { Scope } from '../engine/scope.ts';
import { refuse, type REFUSED, type Stage } from '../engine/stage.ts';
import { BulkheadFullError, OverloadError, withoutStack } from '../errors.ts';
import { checkChoice, checkNumber, checkObject } from '../options.ts';
import { isThrottle } from '../retry/retry-after.ts';
import { isTimeout } from '../retry/timed-out.ts';
import { makeLimitAlgorithm, type LimitAlgorithm, type LimitAlgorithmName } from './limit-algorithms.ts';
import { LimitWindow } from './limit-window.ts';

/** Options of {@link adaptiveConcurrency}. */
export interface AdaptiveConcurrencyOptions {
  readonly name?: string | undefined;
  /** @default 'gradient2' */
  readonly algorithm?: LimitAlgorithmName | undefined;
  /** @default 20 */
  readonly initial?: number | undefined;
  /** @default 4 */
  readonly min?: number | undefined;
  /** @default 200 */
  readonly max?: number | undefined;
  /** How long calls are gathered before the limit is moved. @default '1s' */
  readonly window?: Duration | undefined;
  /** How many calls that takes at least. @default 20 */
  readonly minimumCalls?: number | undefined;
  /** Calls that may wait for a place. @default 0 */
  readonly queue?: number | undefined;
  /** @default '1s' */
  readonly maxWait?: Duration | undefined;
  /** Under overload the newest is the likeliest to be in time. @default 'lifo' */
  readonly order?: QueueOrder | undefined;
  readonly clock?: Clock | undefined;
}

/** What an {@link adaptiveConcurrency} saw. */
export interface AdaptiveConcurrencyStats extends PolicyStats {
  readonly kind: 'adaptiveConcurrency';
  /** Calls that may run at once, now. */
  readonly limit: number;
  readonly active: number;
  readonly queued: number;
  readonly admitted: number;
  readonly rejected: number;
  /** Times that the limit was looked at. */
  readonly windows: number;
}

/** The events of an {@link adaptiveConcurrency}. */
export interface AdaptiveConcurrencyEvents {
  limit: [event: { readonly policy: string; readonly from: number; readonly to: number }];
}

/** An {@link adaptiveConcurrency}. */
export interface AdaptiveConcurrencyPolicy extends Policy, Listenable<AdaptiveConcurrencyEvents> {
  readonly kind: 'adaptiveConcurrency';
  stats(): AdaptiveConcurrencyStats;
}

/**
 * A bulkhead that finds its own size: calls may run at once as long as their latency does not grow, and what is beyond is
 * refused with `CONCURRENCY_LIMITED`. On either side of a call it keeps an overload from becoming a collapse.
 *
 * @throws InvalidOptionError for a bad option
 */
export function adaptiveConcurrency(options: AdaptiveConcurrencyOptions = {}): AdaptiveConcurrencyPolicy {
  return new AdaptiveConcurrency(options);
}

class AdaptiveConcurrency
  extends BasePolicy<never, AdaptiveConcurrencyEvents>
  implements AdaptiveConcurrencyPolicy, Stage
{
  readonly kind = 'adaptiveConcurrency';
  readonly holdsUntilSettled = true;
  readonly #algorithm: LimitAlgorithm;
  readonly #window: LimitWindow;
  readonly #queue: WaitQueue;
  readonly #options: ReturnType<typeof resolveOptions>;
  readonly #counts = { admitted: 0, rejected: 0, windows: 0 };
  #limit: number;
  #active = 0;

  constructor(options: AdaptiveConcurrencyOptions) {
    const resolved = resolveOptions(options);
    super(policyName('adaptiveConcurrency', options.name), options.clock);
    this.#options = resolved;
    this.#limit = resolved.initial;
    this.#algorithm = makeLimitAlgorithm(resolved.algorithm);
    this.#window = new LimitWindow(resolved.window, resolved.minimumCalls);
    this.#queue = new WaitQueue(this.clock);
  }

  enter(scope: Scope): undefined | typeof REFUSED | Promise<void> {
    if (this.#active < Math.floor(this.#limit)) {
      this.#active += 1;
      this.#counts.admitted += 1;
      return undefined;
    }
    const { queue, order, maxWait } = this.#options;
    if (this.#queue.size >= queue) return refuse(scope, this.#refusal());
    return this.#queue.wait(scope, order, maxWait, () => this.#refusal());
  }

  /** A timeout tells at once; the place is free when the operation has ended. */
  abandon(scope: Scope): void {
    this.#learn(scope);
  }

  leave(_token: unknown, scope: Scope): void {
    if (scope.abandoned === undefined) this.#learn(scope);
    this.#active -= 1;
    if (this.#queue.size === 0) return;
    while (this.#active < Math.floor(this.#limit) && this.#queue.grantNext(this.#options.order)) {
      this.#active += 1;
      this.#counts.admitted += 1;
    }
  }

  parts(): readonly Part[] {
    return [{ type: 'stage', stage: this, clock: this.clock }];
  }

  stats(): AdaptiveConcurrencyStats {
    return {
      kind: this.kind,
      name: this.name,
      limit: Math.floor(this.#limit),
      active: this.#active,
      queued: this.#queue.size,
      ...this.#counts,
    };
  }

  #learn(scope: Scope): void {
    const latencyMs = scope.endedAt - scope.startedAt;
    if (scope.outcome === 'success') this.#window.succeeded(latencyMs, this.#active);
    else if (this.#isDrop(scope)) this.#window.dropped(this.#active);
    const sample = this.#window.take(scope.endedAt);
    if (sample !== undefined) this.#move(this.#algorithm.next(this.#limit, sample));
  }

  // An error that comes fast says nothing about how much is too much.
  #isDrop({ outcome, settled }: Scope): boolean {
    if (outcome !== 'failure') return false;
    return isTimeout(settled) || settled instanceof OverloadError || isThrottle(settled, this.clock.now());
  }

  #move(wanted: number): void {
    const from = Math.floor(this.#limit);
    this.#counts.windows += 1;
    this.#limit = Math.max(this.#options.min, Math.min(this.#options.max, wanted));
    const to = Math.floor(this.#limit);
    if (to !== from) this.emit('limit', { policy: this.name, from, to });
  }

  #refusal(): BulkheadFullError {
    this.#counts.rejected += 1;
    const { name: policy } = this;
    const message = `Concurrency limit "${policy}" of ${Math.floor(this.#limit)} is reached`;
    return withoutStack(() => new BulkheadFullError('CONCURRENCY_LIMITED', message, { policy }));
  }
}

function resolveOptions(options: AdaptiveConcurrencyOptions): {
  readonly algorithm: LimitAlgorithmName;
  readonly initial: number;
  readonly min: number;
  readonly max: number;
  readonly window: number;
  readonly minimumCalls: number;
  readonly queue: number;
  readonly maxWait: number;
  readonly order: QueueOrder;
} {
  checkObject('', options, [
    'name',
    'clock',
    'algorithm',
    'initial',
    'min',
    'max',
    'window',
    'minimumCalls',
    'queue',
    'maxWait',
    'order',
  ]);
  const { initial = 20, max = 200, minimumCalls = 20, queue = 0 } = options;
  const min = options.min ?? Math.min(4, initial);
  const whole = { min: 1, integer: true };
  if (min > initial || initial > max)
    throw new InvalidOptionError('initial', `must lie between min (${min}) and max (${max})`);
  return Object.freeze({
    algorithm: checkChoice('algorithm', options.algorithm ?? 'gradient2', ['gradient2', 'vegas', 'aimd']),
    initial: checkNumber('initial', initial, whole),
    min: checkNumber('min', min, whole),
    max: checkNumber('max', max, whole),
    window: toMilliseconds(options.window ?? '1s', 'window', { min: 1 }),
    minimumCalls: checkNumber('minimumCalls', minimumCalls, whole),
    queue: checkNumber('queue', queue, { min: 0, integer: true }),
    maxWait: toMilliseconds(options.maxWait ?? '1s', 'maxWait', { max: Infinity }),
    order: checkChoice('order', options.order ?? 'lifo', ['fifo', 'lifo', 'priority']),
  });
}
