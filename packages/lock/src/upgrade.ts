import { onAbort, toMilliseconds } from '@xiaoke/core';
import { Attempt, WaitEnd, Waiting, type WaitHost } from './attempt.ts';
import type { Busy, Grant, HoldRequest } from './backend.ts';
import type { LockEngine } from './engine.ts';
import { DeadlockError, LockAbortedError, LockLostError, LockTimeoutError } from './errors.ts';
import type { LockConfig, ResolvedConfig } from './options.ts';
import type { Part } from './part.ts';
import type { Solo } from './solo.ts';

/** How an upgrade waits, and what its caller holds meanwhile. */
export interface UpgradeTerms {
  /** In milliseconds; 0 tries once. */
  readonly wait: number;
  readonly signal: AbortSignal | undefined;
  readonly held: Part[];
}

/** How long the upgrade of a lock that was taken by the terms of `base` may wait, in milliseconds. */
export function upgradeWait(engine: LockEngine, base: ResolvedConfig, wait: LockConfig['wait']): number {
  if (wait !== undefined) return toMilliseconds(wait, 'wait', { max: Infinity });
  // What was taken by a single try is not to be upgraded by one.
  return base.wait > 0 ? base.wait : engine.options.defaults.wait;
}

/**
 * Turns a shared hold into an exclusive one. It stands at the head of the queue and keeps its shared hold while it waits,
 * so nobody can write in between.
 */
export async function upgradeHold(
  engine: LockEngine,
  part: Solo,
  base: ResolvedConfig,
  { wait, signal, held }: UpgradeTerms,
): Promise<void> {
  const keys = [part.resource.key];
  if (signal?.aborted) throw new LockAbortedError(keys, signal.reason);
  const request: HoldRequest = { ...part.hold.request, mode: 'exclusive', lease: part.hold.ttl };
  // Its own shared hold is no obstacle, so it does not count as held by the one that waits.
  const attempt = new Attempt(
    engine,
    { ...base, wait },
    held.filter((other) => other !== part),
  );
  const end = new WaitEnd();
  const waiting = new Waiting(part.resource, attempt, end);
  const upgrade = new Upgrade(engine, part, request, waiting);
  // A single try lasts as long as its answer takes.
  const limit = wait > 0 ? wait : engine.options.commandTimeout;
  const timer = limit === Infinity ? undefined : engine.waits.after(limit, () => upgrade.giveUp());
  const off = onAbort(signal, (reason) => waiting.fail(new LockAbortedError(keys, reason)));
  try {
    upgrade.ask();
    await end.promise;
  } finally {
    off();
    if (timer !== undefined) engine.waits.cancel(timer);
    upgrade.stop();
  }
}

class Upgrade implements WaitHost {
  readonly #engine: LockEngine;
  readonly #part: Solo;
  readonly #request: HoldRequest;
  readonly #waiting: Waiting;
  readonly #started: number;
  #timer: ReturnType<LockEngine['waits']['after']> | undefined;
  /** Resolves when everything that was asked so far was answered, or failed. */
  #asked: Promise<unknown> = Promise.resolve();

  constructor(engine: LockEngine, part: Solo, request: HoldRequest, waiting: Waiting) {
    this.#engine = engine;
    this.#part = part;
    this.#request = request;
    this.#waiting = waiting;
    this.#started = engine.clock.monotonic();
    waiting.host = this;
    engine.upgrades.set(request.holdId, this);
  }

  /** Asks, again and again until it is decided; a pushed grant only makes it ask at once. */
  ask(): void {
    if (this.#waiting.done) return;
    this.#schedule(this.#engine.options.commandTimeout);
    const answered = this.#engine.backend.upgrade(this.#request).then(
      (answer) => this.#onAnswer(answer),
      () => this.#schedule(100),
    );
    this.#asked = Promise.all([this.#asked, answered]);
  }

  giveUp(): void {
    const waitedMs = this.#engine.clock.monotonic() - this.#started;
    const facts = { holders: [], position: 1, waitedMs };
    this.#waiting.fail(new LockTimeoutError(this.#part.resource.key, facts));
  }

  stop(): void {
    this.#engine.upgrades.delete(this.#request.holdId);
    if (this.#timer !== undefined) this.#engine.waits.cancel(this.#timer);
  }

  blockersOf(): Iterable<Part> {
    return [...this.#engine.holdersOf(this.#part.resource)].filter((other) => other !== this.#part);
  }

  positionOf(): number {
    return 1;
  }

  onLeft(): void {
    const shared: HoldRequest = { ...this.#request, mode: 'shared' };
    // Not past a question that is under way: it can take a second command, which would bring the upgrade back.
    const giveUp = (): Promise<unknown> => this.#asked.then(() => this.#engine.backend.downgrade(shared));
    this.#engine.background(giveUp, 'give up an upgrade');
  }

  #onAnswer(answer: Grant | Busy | 'conflict' | 'lost'): void {
    const { hold } = this.#part;
    const { key } = this.#part.resource;
    if (this.#waiting.done) return;
    if (answer === 'lost') {
      hold.lose('stolen');
      this.#waiting.fail(new LockLostError([key], 'stolen'));
    } else if (answer === 'conflict') {
      const step = { key, waitsFor: key, owner: this.#engine.processId };
      this.#waiting.fail(new DeadlockError([step, { ...step, owner: 'another reader that upgrades' }]));
    } else if (answer.kind === 'granted') {
      hold.mode = 'exclusive';
      hold.token = answer.token;
      hold.confirm(answer.lease, answer.from);
      this.#waiting.grant(this.#part);
    } else if (!this.#waiting.attempt.patient) this.giveUp();
    else {
      this.#engine.blocked(this.#waiting);
      this.#schedule(Math.min(answer.retryAfter + 2, 2_500));
    }
  }

  #schedule(delay: number): void {
    if (this.#timer !== undefined) this.#engine.waits.cancel(this.#timer);
    this.#timer = this.#engine.waits.after(delay, () => this.ask());
  }
}
