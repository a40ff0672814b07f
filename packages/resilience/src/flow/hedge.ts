import { toMilliseconds, type Clock, type Duration } from '@xiaoke/core';
import type { Part } from '../engine/compile.ts';
import type { Runner } from '../engine/frame.ts';
import { LatencyHistogram } from '../engine/latency-histogram.ts';
import {
  BasePolicy,
  policyName,
  type Configurable,
  type Policy,
  type PolicyStats,
} from '../engine/policy.ts';
import { RejectedError } from '../errors.ts';
import { checkNumber, checkObject, checkShare } from '../options.ts';
import { resolveBudget, type RetryBudget, type RetryBudgetOptions } from '../retry/budget.ts';
import { isTimeout } from '../retry/timed-out.ts';
import { HedgedCall } from './hedged-call.ts';

/** When to start a hedge: after a fixed time, or when a call takes longer than most. */
export type HedgeAfter =
  | Duration
  | {
      /** Hedge what takes longer than this share of the recent calls. */
      readonly quantile: number;
      /** Used until enough calls were seen. */
      readonly initial: Duration;
      /** @default 100 */
      readonly minimumCalls?: number | undefined;
    };

/** Options of a hedge that are plain data. */
export interface HedgeDefinition {
  readonly after: HedgeAfter;
  /** Additional attempts at most. @default 1 */
  readonly max?: number | undefined;
  /** Bounds the hedges of all calls together; `false` for none. @default 20 % of the calls, and 10 per second */
  readonly budget?: RetryBudget | RetryBudgetOptions | false | undefined;
}

/** Options of {@link hedge}. */
export interface HedgeOptions extends HedgeDefinition {
  readonly name?: string | undefined;
  readonly clock?: Clock | undefined;
}

/** What a {@link hedge} saw. */
export interface HedgeStats extends PolicyStats {
  readonly kind: 'hedge';
  readonly calls: number;
  /** Additional attempts that were started. */
  readonly started: number;
  /** Calls that an additional attempt won. */
  readonly won: number;
  /** Hedges that the budget refused. */
  readonly denied: number;
  /** The wait before a hedge, now. */
  readonly afterMs: number;
}

/** A {@link hedge}. */
export interface HedgePolicy extends Policy, Configurable<HedgeOptions> {
  readonly kind: 'hedge';
  stats(): HedgeStats;
}

/** {@link HedgeOptions} checked. */
interface Resolved {
  readonly afterMs: number;
  readonly quantile: number | undefined;
  readonly minimumCalls: number;
  readonly max: number;
  readonly budget: RetryBudget | undefined;
}

// Old latencies count half after so many new ones.
const FADE_AFTER = 1_000;

/**
 * Starts the operation again when it takes long, and takes the first success ("The Tail at Scale", 2013). A failure starts
 * the next at once; the losers' signals fire. Only for operations that may run twice: calls with `idempotent: false` are
 * not hedged.
 *
 * @throws InvalidOptionError for a bad option
 * @example
 * ```ts run
 * import { hedge } from '@xiaoke/resilience';
 * const result = await hedge({ after: '10ms' }).execute(({ hedge: number, signal }) =>
 *   number === 1 ? 'second' : new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
 * );
 * console.log(result); // => second
 * ```
 */
export function hedge(options: HedgeOptions): HedgePolicy {
  return new Hedge(options);
}

class Hedge extends BasePolicy<never, object> implements HedgePolicy {
  readonly kind = 'hedge';
  readonly #latency = new LatencyHistogram();
  readonly #counts = { calls: 0, started: 0, won: 0, denied: 0 };
  #options: Resolved;

  constructor(options: HedgeOptions) {
    const resolved = resolveOptions(options, undefined);
    super(policyName('hedge', options.name), options.clock);
    this.#options = resolved;
  }

  configure(options: HedgeOptions): void {
    this.#options = resolveOptions(options, this.#options.budget);
  }

  parts(): readonly Part[] {
    const around = (inner: Runner): Runner => ({
      run: (scope, operation) => {
        if (scope.call.options.idempotent === false) return inner.run(scope, operation);
        return this.#start(new HedgedCall({ inner, scope, operation, clock: this.clock }));
      },
    });
    return [{ type: 'around', around, clock: this.clock }];
  }

  stats(): HedgeStats {
    return { kind: this.kind, name: this.name, ...this.#counts, afterMs: this.#after() };
  }

  async #start(call: HedgedCall): Promise<unknown> {
    const { max, budget } = this.#options;
    const begun = this.clock.monotonic();
    this.#counts.calls += 1;
    budget?.begin(begun);
    let granted = 0;
    let succeeded = false;
    let error: unknown;
    try {
      const value = await call.run(max, this.#after(), () => {
        if (budget !== undefined && !budget.tryGrant(this.clock.monotonic(), false)) {
          this.#counts.denied += 1;
          return false;
        }
        granted += 1;
        this.#counts.started += 1;
        return true;
      });
      succeeded = true;
      this.#record(call.winnerMs);
      if (call.winner > 0) this.#counts.won += 1;
      return value;
    } catch (failure) {
      error = failure;
      throw failure;
    } finally {
      budget?.end({
        succeeded,
        timedOut: isTimeout(error),
        refused: error instanceof RejectedError,
        granted,
      });
    }
  }

  #after(): number {
    const { quantile, minimumCalls, afterMs } = this.#options;
    if (quantile === undefined || this.#latency.count < minimumCalls) return afterMs;
    return Math.max(1, this.#latency.quantile(quantile));
  }

  #record(durationMs: number): void {
    this.#latency.record(durationMs);
    if (this.#latency.count >= FADE_AFTER) this.#latency.fade();
  }
}

function resolveOptions(options: HedgeOptions, inherited: RetryBudget | undefined): Resolved {
  checkObject('', options, ['name', 'clock', 'after', 'max', 'budget']);
  const { after, max = 1 } = options;
  const adaptive = typeof after === 'object' && after !== null;
  if (adaptive) checkObject('after', after, ['quantile', 'initial', 'minimumCalls']);
  return Object.freeze({
    afterMs: adaptive ? toMilliseconds(after.initial, 'after.initial') : toMilliseconds(after, 'after'),
    quantile: adaptive ? checkShare('after.quantile', after.quantile) : undefined,
    minimumCalls: adaptive
      ? checkNumber('after.minimumCalls', after.minimumCalls ?? 100, { min: 1, max: FADE_AFTER / 2 })
      : 0,
    max: checkNumber('max', max, { min: 1, max: 16, integer: true }),
    budget:
      options.budget === undefined && inherited !== undefined ? inherited : resolveBudget(options.budget),
  });
}
