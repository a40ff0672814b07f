import { retryChannel } from '../engine/channels.ts';
import type { Part } from '../engine/compile.ts';
import { BasePolicy, policyName, type Configurable, type Listenable, type Policy } from '../engine/policy.ts';
import { RetryEngine } from './retry-engine.ts';
import { resolveRetryOptions, type RetryOptions } from './retry-options.ts';
import type { RetryEvent } from './retry-run.ts';
import { RetryCounter, type RetryStats } from './retry-stats.ts';

/** The events of a {@link retry}. */
export interface RetryEvents {
  /** Before the wait for another attempt. */
  retry: [event: RetryEvent];
}

/** A {@link retry}. */
export interface RetryPolicy extends Policy, Configurable<RetryOptions>, Listenable<RetryEvents> {
  readonly kind: 'retry';
  stats(): RetryStats;
}

/**
 * Repeats what fails. The retries are run by p-retry, which is entered only after a failure; waits, limits and the
 * decision are ours, see {@link RetryOptions}.
 *
 * When it gives up, the last error itself is thrown; {@link attemptInfo} tells the rest. An abort by the caller ends it at
 * once, in an attempt or in a wait, with `signal.reason`.
 *
 * @throws InvalidOptionError for a bad option
 * @example
 * ```ts run
 * import { retry } from '@xiaoke/resilience';
 * const twice = retry({ attempts: 4, baseDelay: '5ms' });
 * const result = await twice.execute(({ attempt }) => {
 *   if (attempt < 3) throw new Error('not yet');
 *   return `attempt ${attempt}`;
 * });
 * console.log(result); // => attempt 3
 * ```
 */
export function retry(options: RetryOptions = {}): RetryPolicy {
  return new Retry(options);
}

class Retry extends BasePolicy<never, RetryEvents> implements RetryPolicy {
  readonly kind = 'retry';
  readonly #counter = new RetryCounter();
  readonly #engine: RetryEngine;

  constructor(options: RetryOptions) {
    const resolved = resolveRetryOptions(options);
    super(policyName('retry', options.name), options.clock);
    this.#engine = new RetryEngine(resolved, this.#counter, (event) => this.#announce(event));
  }

  configure(options: RetryOptions): void {
    this.#engine.options = resolveRetryOptions(
      { ...options, clock: this.clock },
      this.#engine.options.budget,
    );
  }

  #announce(event: Omit<RetryEvent, 'policy'>): void {
    const told: RetryEvent = { policy: this.name, ...event };
    this.emit('retry', told);
    if (retryChannel.hasSubscribers) retryChannel.publish(told);
    const { onRetry } = this.#engine.options;
    if (onRetry === undefined) return;
    try {
      const reaction = onRetry(told);
      if (reaction instanceof Promise) reaction.catch(() => {});
    } catch {
      // Whoever listens does not take part in the call.
    }
  }

  parts(): readonly Part[] {
    return [{ type: 'retry', engine: this.#engine, clock: this.clock }];
  }

  stats(): RetryStats {
    const { budget, attempts } = this.#engine.options;
    return {
      kind: this.kind,
      name: this.name,
      ...this.#counter.stats(),
      budgetBalance: budget?.balance,
      maxAttempts: attempts,
    };
  }
}
