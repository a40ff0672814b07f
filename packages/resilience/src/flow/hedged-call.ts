import { XiaokeError, type Clock, type Timer } from '@xiaoke/core';
import type { Operation } from '../engine/context.ts';
import type { Runner } from '../engine/frame.ts';
import { Attempt, type CancelCause, type Cancellable, type Scope } from '../engine/scope.ts';
import { withoutStack } from '../errors.ts';

/** What a call that may be hedged is made of. */
export interface HedgedParts {
  readonly inner: Runner;
  readonly scope: Scope;
  readonly operation: Operation<unknown>;
  readonly clock: Clock;
}

/** One call with its competing attempts. */
export class HedgedCall implements Cancellable {
  winner = 0;
  winnerMs = 0;
  readonly #parts: HedgedParts;
  readonly #running = new Set<Attempt>();
  #started = 0;
  #timer: Timer | undefined = undefined;
  #max = 0;
  #delay = 0;
  #mayStart: () => boolean = () => false;
  #resolve: (value: unknown) => void = () => {};
  #reject: (error: unknown) => void = () => {};
  #over = false;

  constructor(parts: HedgedParts) {
    this.#parts = parts;
  }

  /** Runs the first attempt and up to `max` more, one every `delay` milliseconds as long as `mayStart` says so. */
  run(max: number, delay: number, mayStart: () => boolean): Promise<unknown> {
    this.#max = max;
    this.#delay = delay;
    this.#mayStart = mayStart;
    return new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
      this.#parts.scope.child = this;
      this.#start();
    });
  }

  cancel(reason: unknown, cause: CancelCause, cooperative: boolean): void {
    this.#timer?.cancel();
    this.#over ||= !cooperative;
    for (const attempt of this.#running) attempt.cancel(reason, cause, cooperative);
    if (!cooperative) this.#reject(reason);
  }

  #start(): void {
    const { scope, inner, operation, clock } = this.#parts;
    const attempt = new Attempt(scope, scope.attempt, this.#started);
    // Whoever loses is given up, whatever it does.
    attempt.cancellable = true;
    attempt.startedAt = clock.monotonic();
    this.#started += 1;
    this.#running.add(attempt);
    inner.run(attempt, operation).then(
      (value) => this.#won(attempt, value),
      (error: unknown) => this.#failed(attempt, error),
    );
    if (this.#started <= this.#max && !this.#over)
      this.#timer = clock.setTimeout(() => this.#startNext(), this.#delay);
  }

  #startNext(): boolean {
    this.#timer?.cancel();
    const { scope } = this.#parts;
    if (this.#over || scope.cause !== 'none' || this.#started > this.#max || !this.#mayStart()) return false;
    this.#start();
    return true;
  }

  #won(attempt: Attempt, value: unknown): void {
    this.#running.delete(attempt);
    if (this.#over) return;
    this.#over = true;
    this.#timer?.cancel();
    this.winner = attempt.hedge;
    this.winnerMs = this.#parts.clock.monotonic() - attempt.startedAt;
    const reason = withoutStack(() => new XiaokeError('HEDGE_LOST', 'Another attempt was faster'));
    for (const loser of this.#running) loser.cancel(reason, 'caller', false);
    this.#resolve(value);
  }

  #failed(attempt: Attempt, error: unknown): void {
    this.#running.delete(attempt);
    if (this.#over || this.#startNext() || this.#running.size > 0) return;
    this.#over = true;
    this.#timer?.cancel();
    this.#reject(error);
  }
}
