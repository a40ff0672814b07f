import { InvalidOptionError, TimeoutError, toMilliseconds, type Clock, type Duration } from '@xiaoke/core';
import type { Part } from '../engine/compile.ts';
import {
  BasePolicy,
  policyName,
  type Configurable,
  type Listenable,
  type Policy,
  type PolicyStats,
} from '../engine/policy.ts';
import type { Scope } from '../engine/scope.ts';
import type { Stage } from '../engine/stage.ts';
import { withoutStack } from '../errors.ts';
import { DeadlineQueue, type DeadlineEntry } from './deadline-queue.ts';

/** Options of {@link timeout} beside the duration. */
export interface TimeoutOptions {
  readonly name?: string | undefined;
  /**
   * What happens when time is up. `abandon`: the signal fires and the call rejects at once, whatever the operation does.
   * `cooperative`: the signal fires and the call waits for the operation to end, so nothing runs on unseen; one that
   * ignores its signal is waited for without limit. @default 'abandon'
   */
  readonly mode?: 'abandon' | 'cooperative' | undefined;
  readonly clock?: Clock | undefined;
}

/** What a {@link timeout} saw. */
export interface TimeoutStats extends PolicyStats {
  readonly kind: 'timeout';
  readonly timeoutMs: number;
  readonly calls: number;
  readonly timedOut: number;
  /** Operations that succeeded after they were given up: work that was done for nothing. */
  readonly lateSuccesses: number;
  readonly lateFailures: number;
}

/** The events of a {@link timeout}. */
export interface TimeoutEvents {
  timeout: [event: { readonly policy: string; readonly timeoutMs: number }];
}

/** A {@link timeout}. */
export interface TimeoutPolicy
  extends Policy, Configurable<{ readonly duration: Duration }>, Listenable<TimeoutEvents> {
  readonly kind: 'timeout';
  stats(): TimeoutStats;
}

/**
 * Ends what is inside after `duration` with a `TimeoutError`, also when the operation ignores its signal. Outside of a
 * retry it bounds all attempts together, inside of one each attempt.
 *
 * A call that ends in time costs no timer: calls of one timeout share one.
 *
 * @throws InvalidOptionError for a duration that is none, or is zero
 * @example
 * ```ts run
 * import { timeout } from '@xiaoke/resilience';
 * const hangs = timeout('20ms').execute(() => new Promise(() => {}));
 * console.log(await hangs.catch((error) => error.code)); // => TIMEOUT
 * ```
 */
export function timeout(duration: Duration, options: TimeoutOptions = {}): TimeoutPolicy {
  return new Timeout(duration, options);
}

class Timeout extends BasePolicy<never, TimeoutEvents> implements TimeoutPolicy, Stage {
  readonly kind = 'timeout';
  readonly holdsUntilSettled = false;
  readonly #cooperative: boolean;
  #queue: DeadlineQueue;
  #counts = { calls: 0, timedOut: 0, lateSuccesses: 0, lateFailures: 0 };

  constructor(duration: Duration, options: TimeoutOptions) {
    const { name, mode = 'abandon', clock } = options;
    super(policyName('timeout', name), clock);
    if (mode !== 'abandon' && mode !== 'cooperative')
      throw new InvalidOptionError('mode', `must be 'abandon' or 'cooperative'`);
    this.#cooperative = mode === 'cooperative';
    this.#queue = this.#makeQueue(duration);
  }

  configure({ duration }: { readonly duration: Duration }): void {
    this.#queue = this.#makeQueue(duration);
  }

  enter(scope: Scope, now: number): DeadlineEntry {
    this.#counts.calls += 1;
    // An attempt that is only asked to stop is waited for like one that nothing can stop.
    if (!this.#cooperative) scope.cancellable = true;
    const entry = this.#queue.add(scope, now);
    if (entry.due < scope.deadline) scope.deadline = entry.due;
    return entry;
  }

  leave(token: unknown): void {
    const entry = token as DeadlineEntry;
    entry.queue.remove(entry);
  }

  parts(): readonly Part[] {
    return [{ type: 'stage', stage: this, clock: this.clock }];
  }

  stats(): TimeoutStats {
    return { kind: this.kind, name: this.name, timeoutMs: this.#queue.duration, ...this.#counts };
  }

  #makeQueue(duration: Duration): DeadlineQueue {
    const milliseconds = toMilliseconds(duration, 'duration', { min: 1 });
    return new DeadlineQueue(milliseconds, this.clock, (entry) => this.#expire(entry, milliseconds));
  }

  #expire({ scope }: DeadlineEntry, timeoutMs: number): void {
    this.#counts.timedOut += 1;
    const error = withoutStack(() => new TimeoutError(`The call through "${this.name}"`, timeoutMs));
    scope.cancel(error, 'limit', this.#cooperative);
    for (const work of scope.abandoned ?? []) this.#watch(work);
    this.emit('timeout', { policy: this.name, timeoutMs });
  }

  #watch(work: PromiseLike<unknown>): void {
    work.then(
      () => void (this.#counts.lateSuccesses += 1),
      () => void (this.#counts.lateFailures += 1),
    );
  }
}
