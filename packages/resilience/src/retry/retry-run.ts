import { RetryLaterError } from '@xiaoke/core';
import pRetry, { type Options as PRetryOptions } from 'p-retry';
import type { Attempt } from '../engine/scope.ts';
import { abortableSleep } from '../engine/scope-sleep.ts';
import { withoutStack } from '../errors.ts';
import { currentDeadline } from '../timeout/deadline.ts';
import { setAttemptInfo, type GiveUpReason } from './attempt-info.ts';
import { retryAfterMs } from './retry-after.ts';
import type { Recovery } from './retry-engine.ts';
import type { ResolvedRetryOptions, RetryDecision } from './retry-options.ts';
import type { RetryCounter } from './retry-stats.ts';
import { isTimeout } from './timed-out.ts';

/** A retry that is about to happen. */
export interface RetryEvent {
  readonly policy: string;
  /** The number of the attempt that failed. */
  readonly attempt: number;
  readonly error: unknown;
  readonly delayMs: number;
}

/** Told about every retry before its wait. */
export type RetryListener = (event: Omit<RetryEvent, 'policy'>) => void;

/**
 * What p-retry sees instead of the operation's error. p-retry replaces what is no `Error`, never repeats a `TypeError`
 * and interprets its own `AbortError`; which errors are repeated is our decision, and the error itself must arrive
 * unchanged.
 */
class AttemptFailed extends Error {}

// An error that is kept is memory that is held: with unlimited attempts only the newest matter.
const KEPT_ERRORS = 32;

/** The retries of one call, run by p-retry. */
export class RetryRun {
  readonly #recovery: Recovery;
  readonly #options: ResolvedRetryOptions;
  readonly #counter: RetryCounter;
  readonly #onRetry: RetryListener;
  readonly #errors: unknown[] = [];
  readonly #delays: number[] = [];
  #last: Attempt;
  #made = 1;
  #granted = 0;
  #deferred = 0;
  #reason: GiveUpReason = 'attempts';

  constructor(
    recovery: Recovery,
    options: ResolvedRetryOptions,
    counter: RetryCounter,
    onRetry: RetryListener,
  ) {
    this.#recovery = recovery;
    this.#options = options;
    this.#counter = counter;
    this.#onRetry = onRetry;
    this.#last = recovery.first;
  }

  async run(): Promise<Attempt> {
    try {
      await pRetry((number) => this.#attempt(number), this.#pRetryOptions());
      this.#counter.succeeded(this.#made);
      this.#end(true);
    } catch (error) {
      if (!(error instanceof AttemptFailed)) this.#stopped(error);
      this.#gaveUp();
    }
    return this.#last;
  }

  // Every option is given: a partial object costs p-retry ten microseconds on Node 20.
  #pRetryOptions(): Required<Omit<PRetryOptions, 'signal'>> {
    return {
      // The limit is ours, since a deferral does not count.
      retries: Infinity,
      factor: 1,
      minTimeout: 0,
      maxTimeout: Infinity,
      maxRetryTime: Infinity,
      randomize: false,
      unref: false,
      onFailedAttempt: () => {},
      shouldConsumeRetry: () => true,
      shouldRetry: () => this.#next(),
    };
  }

  async #attempt(number: number): Promise<void> {
    const { frame, scope, operation } = this.#recovery;
    if (number > 1) {
      this.#made += 1;
      this.#last = await frame.attempt(scope, operation, this.#made);
      if (this.#last.outcome === 'success' && !this.#rejectsResult()) return;
    }
    this.#errors.push(this.#last.settled);
    if (this.#errors.length > KEPT_ERRORS) this.#errors.shift();
    throw withoutStack(() => new AttemptFailed());
  }

  /** Decides about another attempt and waits for it. */
  async #next(): Promise<boolean> {
    const { scope, begun } = this.#recovery;
    const { clock, budget } = this.#options;
    if (scope.cause !== 'none') return this.#giveUp(scope.cause === 'caller' ? 'aborted' : 'deadline');
    const now = clock.monotonic();
    const refusal = this.#refusal(now - begun);
    if (refusal !== undefined) return this.#giveUp(refusal);
    const delay = this.#delay();
    if (delay === undefined) return this.#giveUp('retry-after');
    if (now + delay - begun > this.#options.maxElapsed) return this.#giveUp('elapsed');
    if (now + delay >= scope.deadline) return this.#giveUp('deadline');
    if (budget !== undefined && !budget.tryGrant(now, isTimeout(this.#last.settled)))
      return this.#giveUp('budget');
    this.#granted += 1;
    this.#counter.retried(delay);
    this.#delays.push(delay);
    if (this.#delays.length > KEPT_ERRORS) this.#delays.shift();
    if (this.#last.outcome === 'success') this.#dispose(this.#last.settled);
    this.#onRetry({ attempt: this.#made, error: this.#errors.at(-1), delayMs: delay });
    await abortableSleep(scope, delay, clock);
    return true;
  }

  #refusal(elapsedMs: number): GiveUpReason | undefined {
    const { attempts, retryIf, suppressNested } = this.#options;
    const { scope } = this.#recovery;
    if (this.#last.outcome !== 'success' && !judge(retryIf, this.#last, elapsedMs)) return 'not-retryable';
    if (scope.call.options.idempotent === false) return 'not-retryable';
    if (!this.#isDeferral() && this.#made - this.#deferred >= attempts) return 'attempts';
    if (suppressNested && (currentDeadline()?.attempt ?? 1) > 1) return 'nested';
    return undefined;
  }

  #delay(): number | undefined {
    const { backoff, maxRetryAfter, random, clock } = this.#options;
    const own = backoff(this.#made, this.#delays.at(-1) ?? 0, this.#last.settled);
    const asked = maxRetryAfter === undefined ? undefined : retryAfterMs(this.#last.settled, clock.now());
    if (this.#isDeferral()) this.#deferred += 1;
    if (asked === undefined || maxRetryAfter === undefined) return own;
    if (asked > maxRetryAfter) return undefined;
    // A server gives the same answer to everybody; a little spread keeps them from returning as one.
    return Math.max(own, Math.round(asked * (1 + random() * 0.1)));
  }

  #isDeferral(): boolean {
    return this.#last.settled instanceof RetryLaterError;
  }

  #rejectsResult(): boolean {
    const { retryIfResult } = this.#options;
    if (retryIfResult === undefined) return false;
    return judge(retryIfResult, this.#last, this.#last.endedAt - this.#recovery.begun);
  }

  #dispose(result: unknown): void {
    try {
      const disposed = this.#options.disposeResult?.(result);
      if (disposed instanceof Promise) disposed.catch(() => {});
    } catch {
      // What cannot be released is the operation's loss; the call goes on.
    }
  }

  #giveUp(reason: GiveUpReason): false {
    this.#reason = reason;
    return false;
  }

  // The wait was cut short: by the caller or by a limit of time.
  #stopped(reason: unknown): void {
    const { cause } = this.#recovery.scope;
    this.#reason = cause === 'caller' ? 'aborted' : 'deadline';
    this.#last.outcome = cause === 'caller' ? 'cancelled' : 'failure';
    this.#last.settled = reason;
  }

  #end(succeeded: boolean): void {
    const { outcome, settled } = this.#last;
    const timedOut = !succeeded && (this.#reason === 'deadline' || isTimeout(settled));
    const refused = outcome === 'rejected';
    this.#options.budget?.end({ succeeded, timedOut, refused, granted: this.#granted });
  }

  #gaveUp(): void {
    const { begun } = this.#recovery;
    const { outcome, settled } = this.#last;
    this.#end(outcome === 'success');
    this.#counter.failed(this.#made, this.#reason);
    if (outcome === 'success') return;
    setAttemptInfo(settled, {
      attempts: this.#made,
      delaysMs: this.#delays,
      errors: this.#errors,
      elapsedMs: this.#options.clock.monotonic() - begun,
      reason: this.#reason,
    });
  }
}

/** Asks a predicate of the user's; one that throws says no, since the call has an error of its own to report. */
export function judge(
  predicate: (value: unknown, decision: RetryDecision) => boolean,
  { settled, attempt, call }: Attempt,
  elapsedMs: number,
): boolean {
  try {
    return predicate(settled, { attempt, elapsedMs, idempotent: call.options.idempotent });
  } catch {
    return false;
  }
}
