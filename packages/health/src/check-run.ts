import type { Clock } from '@xiaoke/core';
import { failureOf, toOutcome, type CheckOutcome } from './check-result.ts';
import type { CheckContext, HealthChecker } from './checker.ts';
import type { Due, TimerQueue } from './timer-queue.ts';

/** How one run ended. */
export interface RunResult {
  readonly outcome: CheckOutcome;
  readonly durationMs: number;
  /** Whether this process, not the thing looked at, was too slow: its event loop was blocked past the deadline. */
  readonly selfStall: boolean;
}

// A deadline that is noticed this much too late, and as a share of the timeout, says that our own loop was blocked.
const STALL_MS = 250;
const STALL_SHARE = 0.5;

/**
 * Runs a checker under an enforced deadline. A checker that ignores its signal is left behind: `pending` then tells that it
 * is still there, so that it is never started a second time beside itself.
 *
 * It calls back rather than returning a promise: a check runs for as long as the process does, and costs what its checker
 * costs and little more.
 */
export class CheckRunner {
  readonly #checker: HealthChecker;
  readonly #clock: Clock;
  readonly #deadlines: TimerQueue;
  readonly #onLate: () => void;
  readonly #onDeadline = (run: Run, lateMs: number): void => {
    this.#giveUp(run, 'TIMEOUT', lateMs > STALL_MS && lateMs > run.timeoutMs * STALL_SHARE);
  };
  #run: Run | undefined;
  #orphan = false;

  constructor(
    checker: HealthChecker,
    { clock, deadlines }: { readonly clock: Clock; readonly deadlines: TimerQueue },
    onLate: () => void,
  ) {
    this.#checker = checker;
    this.#clock = clock;
    this.#deadlines = deadlines;
    this.#onLate = onLate;
  }

  /** Whether a run that was given up has still not ended. */
  get pending(): boolean {
    return this.#orphan;
  }

  /** Runs it once; `done` is called exactly once, at the deadline at the latest. Never while another run is under way. */
  run(timeoutMs: number, done: (result: RunResult) => void): void {
    const run = new Run(timeoutMs, this.#clock, done);
    this.#run = run;
    let result: unknown;
    try {
      result = this.#checker.check(run);
    } catch (error) {
      run.settle(failureOf(error));
      return;
    }
    if (!isThenable(result)) {
      run.settle(toOutcome(result));
      return;
    }
    run.watch(this.#deadlines, this.#onDeadline);
    result.then(
      (value) => this.#ended(run, toOutcome(value)),
      // A checker that fails after its deadline is no unhandled rejection.
      (error: unknown) => this.#ended(run, failureOf(error)),
    );
  }

  /** Gives up what is under way. */
  stop(code: string): void {
    const run = this.#run;
    if (run !== undefined && !run.settled) this.#giveUp(run, code, false);
  }

  #giveUp(run: Run, code: string, selfStall: boolean): void {
    this.#orphan = true;
    const observed = run.reached === undefined ? undefined : { phase: run.reached };
    run.settle({ status: 'unhealthy', code, observed }, selfStall);
    run.abort(code);
  }

  #ended(run: Run, outcome: CheckOutcome): void {
    if (!run.settled) return run.settle(outcome);
    this.#orphan = false;
    if (outcome.status === 'healthy' || outcome.status === 'degraded') this.#onLate();
  }
}

/** One run, and what its checker is told. The signal is made only for a checker that asks for it. */
class Run implements CheckContext, Due {
  readonly timeoutMs: number;
  readonly dueAt: number;
  reached: string | undefined;
  settled = false;
  readonly #clock: Clock;
  readonly #start: number;
  readonly #done: (result: RunResult) => void;
  #controller: AbortController | undefined;
  #deadlines: TimerQueue | undefined;
  #onDeadline: ((run: Run, lateMs: number) => void) | undefined;

  constructor(timeoutMs: number, clock: Clock, done: (result: RunResult) => void) {
    this.timeoutMs = timeoutMs;
    this.#clock = clock;
    this.#start = clock.monotonic();
    this.dueAt = this.#start + timeoutMs;
    this.#done = done;
  }

  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    return this.#controller.signal;
  }

  // Taken off the context by destructuring, so it must know its run.
  get phase(): (name: string) => void {
    return (name) => void (this.reached = name);
  }

  get wanted(): boolean {
    return !this.settled;
  }

  watch(deadlines: TimerQueue, onDeadline: (run: Run, lateMs: number) => void): void {
    this.#deadlines = deadlines;
    this.#onDeadline = onDeadline;
    deadlines.add(this);
    deadlines.retain();
  }

  /** The deadline has come. */
  fire(): void {
    this.#onDeadline?.(this, this.#clock.monotonic() - this.dueAt);
  }

  settle(outcome: CheckOutcome, selfStall = false): void {
    this.settled = true;
    this.#deadlines?.release();
    this.#done({ outcome, durationMs: this.#clock.monotonic() - this.#start, selfStall });
  }

  abort(code: string): void {
    this.#controller ??= new AbortController();
    this.#controller.abort(new DOMException(`The check was stopped: ${code}`, 'AbortError'));
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function';
}
