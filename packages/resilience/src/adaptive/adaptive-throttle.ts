import { systemRandom, toMilliseconds, type Clock, type Duration, type Random } from '@xiaoke/core';
import { TimeWindow } from '../breaker/call-window.ts';
import type { Part } from '../engine/compile.ts';
import { BasePolicy, policyName, type Policy, type PolicyStats } from '../engine/policy.ts';
import type { Scope } from '../engine/scope.ts';
import { refuse, type REFUSED, type Stage } from '../engine/stage.ts';
import { OverloadError, withoutStack } from '../errors.ts';
import { checkNumber, checkObject } from '../options.ts';

/** Options of {@link adaptiveThrottle}. */
export interface AdaptiveThrottleOptions {
  readonly name?: string | undefined;
  /** Calls are refused once there are more than `k` for each that succeeds. @default 2 */
  readonly k?: number | undefined;
  /** @default '30s' */
  readonly window?: Duration | undefined;
  /**
   * The largest share of calls that is refused. The textbook has no cap and can get stuck: refusing everything, it never
   * sees a success again. @default 0.9
   */
  readonly maxRejection?: number | undefined;
  /** Nothing is refused below so many calls in the window. @default 10 */
  readonly minimumCalls?: number | undefined;
  readonly clock?: Clock | undefined;
  readonly random?: Random | undefined;
}

/** What an {@link adaptiveThrottle} saw. */
export interface AdaptiveThrottleStats extends PolicyStats {
  readonly kind: 'adaptiveThrottle';
  readonly admitted: number;
  readonly rejected: number;
  /** The share that is refused now. */
  readonly rejection: number;
}

/** An {@link adaptiveThrottle}. */
export interface AdaptiveThrottlePolicy extends Policy {
  readonly kind: 'adaptiveThrottle';
  stats(): AdaptiveThrottleStats;
}

/**
 * Refuses a share of the calls (`THROTTLED`) that grows with the share that fails: client-side throttling of "Site
 * Reliability Engineering", chapter 21, with a cap. Gentler than a circuit: it never stops, and has no states to flap.
 *
 * @throws InvalidOptionError for a bad option
 */
export function adaptiveThrottle(options: AdaptiveThrottleOptions = {}): AdaptiveThrottlePolicy {
  return new AdaptiveThrottle(options);
}

const BUCKETS = 30;

class AdaptiveThrottle extends BasePolicy<never, object> implements AdaptiveThrottlePolicy, Stage {
  readonly kind = 'adaptiveThrottle';
  readonly holdsUntilSettled = false;
  readonly #k: number;
  readonly #maxRejection: number;
  readonly #minimumCalls: number;
  readonly #random: Random;
  readonly #requests: TimeWindow;
  readonly #accepts: TimeWindow;
  #admitted = 0;
  #rejected = 0;

  constructor(options: AdaptiveThrottleOptions) {
    checkObject('', options, ['name', 'k', 'window', 'maxRejection', 'minimumCalls', 'clock', 'random']);
    super(policyName('adaptiveThrottle', options.name), options.clock);
    const window = toMilliseconds(options.window ?? '30s', 'window', { min: BUCKETS });
    this.#k = checkNumber('k', options.k ?? 2, { min: 1, max: 100 });
    this.#maxRejection = checkNumber('maxRejection', options.maxRejection ?? 0.9, { min: 0, max: 0.99 });
    this.#minimumCalls = checkNumber('minimumCalls', options.minimumCalls ?? 10, { min: 0 });
    this.#random = options.random ?? systemRandom;
    this.#requests = new TimeWindow(window, BUCKETS);
    this.#accepts = new TimeWindow(window, BUCKETS);
  }

  enter(scope: Scope, now: number): undefined | typeof REFUSED {
    const rejection = this.#rejection(now);
    // Refused calls count as requests: that is what makes the share hold.
    this.#requests.record(now, false, false);
    if (rejection > 0 && this.#random() < rejection) {
      this.#rejected += 1;
      const { name: policy } = this;
      const message = `Throttle "${policy}" refuses ${Math.round(rejection * 100)} % of the calls`;
      return refuse(
        scope,
        withoutStack(() => new OverloadError('THROTTLED', message, { policy })),
      );
    }
    this.#admitted += 1;
    return undefined;
  }

  leave(_token: unknown, scope: Scope): void {
    // What says nothing about the dependency must not look like a failure.
    if (scope.outcome !== 'failure') this.#accepts.record(scope.endedAt, false, false);
  }

  parts(): readonly Part[] {
    return [{ type: 'stage', stage: this, clock: this.clock }];
  }

  stats(): AdaptiveThrottleStats {
    const rejection = this.#rejection(this.clock.monotonic());
    return {
      kind: this.kind,
      name: this.name,
      admitted: this.#admitted,
      rejected: this.#rejected,
      rejection,
    };
  }

  #rejection(now: number): number {
    const requests = this.#requests.totals(now).calls;
    if (requests < this.#minimumCalls) return 0;
    const accepts = this.#accepts.totals(now).calls;
    return Math.min(this.#maxRejection, Math.max(0, (requests - this.#k * accepts) / (requests + 1)));
  }
}
