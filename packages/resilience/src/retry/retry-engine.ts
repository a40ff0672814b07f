import type { Operation } from '../engine/context.ts';
import type { Frame } from '../engine/frame.ts';
import type { Attempt, Scope } from '../engine/scope.ts';
import type { ResolvedRetryOptions } from './retry-options.ts';
import type { RetryCounter } from './retry-stats.ts';
import { isRetryable } from './retryable.ts';
import { judge, RetryRun, type RetryListener } from './retry-run.ts';

/** A call whose first attempt did not satisfy. */
export interface Recovery {
  readonly frame: Frame;
  readonly scope: Scope;
  readonly operation: Operation<unknown>;
  readonly first: Attempt;
  /** When the call began. */
  readonly begun: number;
}

/** What a frame needs to know of its retry. On the way of a call that succeeds at once it only counts. */
export class RetryEngine {
  options: ResolvedRetryOptions;
  readonly #counter: RetryCounter;
  readonly #onRetry: RetryListener;

  constructor(options: ResolvedRetryOptions, counter: RetryCounter, onRetry: RetryListener) {
    this.options = options;
    this.#counter = counter;
    this.#onRetry = onRetry;
  }

  begin(now: number): void {
    this.#counter.begin(now);
    this.options.budget?.begin(now);
  }

  /** Whether the first attempt is not the end of the call. If it is, it is counted. */
  wantsMore(attempt: Attempt, scope: Scope, begun: number): boolean {
    // Nearly always; short, so that it is inlined where it is asked.
    if (attempt.outcome !== 'success' || this.options.retryIfResult !== undefined)
      return this.#wantsMoreAfter(attempt, scope, begun);
    this.#counter.succeeded(1);
    this.options.budget?.end(SUCCEEDED);
    return false;
  }

  #wantsMoreAfter(attempt: Attempt, scope: Scope, begun: number): boolean {
    if (scope.cause !== 'none' && attempt.outcome !== 'success') {
      this.#counter.failed(1, scope.cause === 'caller' ? 'aborted' : 'deadline');
      this.options.budget?.end(scope.cause === 'caller' ? FAILED : TIMED_OUT);
      return false;
    }
    if (attempt.outcome === 'rejected' && this.options.retryIf === isRetryable) {
      // The usual answer, without asking p-retry: refusals come when there is no time to lose.
      this.#counter.failed(1, 'not-retryable');
      this.options.budget?.end(REFUSED);
      return false;
    }
    if (attempt.outcome !== 'success' || this.#rejectsResult(attempt, begun)) return true;
    this.#counter.succeeded(1);
    this.options.budget?.end(SUCCEEDED);
    return false;
  }

  /** Makes further attempts. Never rejects: the attempt it gives says how the call ended. */
  recover(recovery: Recovery): Promise<Attempt> {
    return new RetryRun(recovery, this.options, this.#counter, this.#onRetry).run();
  }

  #rejectsResult(attempt: Attempt, begun: number): boolean {
    const { retryIfResult } = this.options;
    return retryIfResult !== undefined && judge(retryIfResult, attempt, attempt.endedAt - begun);
  }
}

const FAILED = { succeeded: false, timedOut: false, refused: false, granted: 0 } as const;
const SUCCEEDED = { ...FAILED, succeeded: true } as const;
const TIMED_OUT = { ...FAILED, timedOut: true } as const;
const REFUSED = { ...FAILED, refused: true } as const;
