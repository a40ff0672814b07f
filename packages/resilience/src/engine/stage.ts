import { systemClock, type Clock } from '@xiaoke/core';
import { isRejection, type RejectedError } from '../errors.ts';
import type { Outcome, Scope } from './scope.ts';

/** What `enter` returns when it has left its error in `scope.refusal`: as good as throwing it, at a tenth of the cost. */
export const REFUSED: unique symbol = Symbol('refused');

/** Leaves `refusal` in the scope; what `enter` returns then. */
export function refuse(scope: Scope, refusal: RejectedError): typeof REFUSED {
  scope.refusal = refusal;
  return REFUSED;
}

/**
 * A policy that only admits and observes: a circuit, a bulkhead, a limiter, a timeout. It is two synchronous hooks inside
 * the one asynchronous function of a pipeline, so it costs no promise of its own.
 */
export interface Stage {
  /**
   * Admits the scope, or throws or returns {@link REFUSED}. What it returns is handed back to `leave`; a promise means that the scope has to wait
   * (then `scope.child` must be what cancels the wait).
   */
  enter(scope: Scope, now: number): unknown;
  /** Called exactly once for every `enter` that succeeded, when `scope.outcome`, `settled` and `endedAt` are known. */
  leave(token: unknown, scope: Scope): void;
  /** For a stage that holds on: called at once when the operation is given up, with `leave` still to come. */
  abandon?(scope: Scope): void;
  /** Whether `leave` waits until the operation has really ended, also when it was given up. */
  readonly holdsUntilSettled: boolean;
}

/** Passes `stages` from the outside in. Returns a promise only when one of them makes the scope wait. */
export function enterStages(stages: readonly Stage[], scope: Scope, clock: Clock): Promise<void> | undefined {
  const { length } = stages;
  // Room for as many as there usually are: an array that grows takes room for seventeen.
  const tokens: unknown[] = (scope.tokens = [undefined, undefined, undefined, undefined]);
  for (let index = 0; index < length; index += 1) {
    const stage = stages[index] as Stage;
    const token = stage.enter(scope, scope.startedAt);
    if (token === REFUSED) return undefined;
    if (token instanceof Promise) return enterRest(stages, scope, token, clock);
    tokens[index] = token;
    scope.entered = index + 1;
  }
  return undefined;
}

async function enterRest(
  stages: readonly Stage[],
  scope: Scope,
  waiting: Promise<unknown>,
  clock: Clock,
): Promise<void> {
  const token = await waiting;
  throwRefusal(scope);
  scope.child = undefined;
  keepToken(scope, token);
  if (scope.cause !== 'none') throw scope.reason;
  for (const stage of stages.slice(scope.entered)) {
    const next: unknown = await stage.enter(scope, clock.monotonic());
    throwRefusal(scope);
    scope.child = undefined;
    keepToken(scope, next);
    if (scope.cause !== 'none') throw scope.reason;
  }
  // What comes now is the dependency's time; what was before was ours.
  scope.startedAt = clock.monotonic();
}

function throwRefusal({ refusal }: Scope): void {
  if (refusal !== undefined) throw refusal;
}

function keepToken(scope: Scope, token: unknown): void {
  if (scope.tokens !== undefined) scope.tokens[scope.entered] = token;
  scope.entered += 1;
}

/** Tells the stages that were passed, from the inside out, how it went. */
export function leaveStages(stages: readonly Stage[], scope: Scope): void {
  const { tokens, abandoned } = scope;
  for (let index = scope.entered - 1; index >= 0; index -= 1) {
    const stage = stages[index];
    if (stage === undefined) continue;
    const token = tokens?.[index];
    if (abandoned !== undefined && stage.holdsUntilSettled) leaveLater(stage, token, scope);
    else stage.leave(token, scope);
  }
  scope.entered = 0;
}

function leaveLater(stage: Stage, token: unknown, scope: Scope): void {
  stage.abandon?.(scope);
  void Promise.allSettled(scope.abandoned ?? []).then(() => stage.leave(token, scope));
}

/** Settles the scope as failed and gives the error that the caller is to see. */
export function failScope(scope: Scope, error: unknown, endedAt: number): unknown {
  scope.endedAt = endedAt;
  scope.outcome = outcomeOf(scope, error);
  scope.settled = scope.cause === 'none' ? error : scope.reason;
  return scope.settled;
}

function outcomeOf(scope: Scope, error: unknown): Outcome {
  if (scope.cause === 'caller') return 'cancelled';
  if (scope.cause === 'limit') return 'failure';
  return isRejection(error) ? 'rejected' : 'failure';
}

/** The clock that all of `clocks` are, or `undefined` when they differ. */
export function commonClock(clocks: readonly Clock[]): Clock | undefined {
  const [first = systemClock] = clocks;
  return clocks.every((clock) => clock === first) ? first : undefined;
}
