import type { Asking, Busy, Grant, HoldRequest, Instant, PushedGrant, Taker } from './backend.ts';
import type { LockEngine } from './engine.ts';
import { LockUnavailableError } from './errors.ts';
import { elapsedSince, marginOf } from './hold.ts';
import type { TimelineEntry } from './timeline.ts';

/** How often a waiter shows that it still waits, in milliseconds. A third of what the backends give it. */
export const WAITER_REFRESH = 2_500;

/** Whom a request tells what becomes of it: exactly one of the first three, once, unless it is cancelled. */
export interface RequestUser {
  onGranted(request: RemoteRequest, grant: Grant): void;
  /** It was not to be queued. */
  onBusy(request: RemoteRequest): void;
  onFailed(request: RemoteRequest, error: unknown): void;
  /** It stands in the queue; called after every look. */
  onQueued(request: RemoteRequest): void;
}

/**
 * Asks the backend for one hold until it has it: once, then whenever a lease can have run out, when messages can have
 * been missed, and every few seconds. In the ordinary case the grant is pushed and none of that happens. Every question
 * carries the same `holdId`, so asking again after a lost answer cannot give two holds.
 */
export class RemoteRequest implements TimelineEntry, Taker {
  dueAt = 0;
  heapIndex = -1;
  readonly request: HoldRequest;
  /** The place in the queue at the last look, 0 before the first. */
  position = 0;
  /** Why the last question failed; cleared by an answer. */
  failure: unknown;
  readonly #engine: LockEngine;
  readonly #user: RequestUser;
  readonly #queue: boolean;
  #fresh: boolean;
  #sample: Busy | undefined;
  #failures = 0;
  #settled = false;
  #cancelled = false;
  /** Questions that were sent and not answered. */
  #open = 0;

  /** @param asking - `fresh` when nothing speaks against its being free */
  constructor(
    engine: LockEngine,
    request: HoldRequest,
    asking: Asking & { readonly fresh: boolean },
    user: RequestUser,
  ) {
    this.#engine = engine;
    this.request = request;
    this.#queue = asking.queue;
    this.#fresh = asking.fresh;
    this.#user = user;
  }

  start(): void {
    this.ask();
  }

  onDue(): void {
    this.ask();
  }

  /** Looks at the truth now. */
  ask(): void {
    if (this.#settled) return;
    // An answer that never comes is asked for again.
    this.#schedule(this.#engine.options.commandTimeout, false);
    this.#open += 1;
    const { shortWay } = this.#engine.backend;
    if (this.#fresh && shortWay !== undefined && this.request.mode === 'exclusive') {
      this.#fresh = false;
      shortWay.take(this, this.#engine.alone);
    } else this.#askLong();
  }

  onTaken(token: number, from: Instant): void {
    if (token === 0) {
      // A question under way: a cancellation must not be overtaken by what is asked here.
      this.#askLong();
      return;
    }
    this.#open -= 1;
    this.#onAnswer({ kind: 'granted', token, lease: this.request.lease, from, contended: false });
  }

  onTakeFailed(error: unknown): void {
    this.#open -= 1;
    this.#onFailure(error);
  }

  /** A grant was pushed. */
  onPush(pushed: PushedGrant): void {
    if (this.#settled) return;
    const { clock } = this.#engine;
    const sample = this.#sample;
    if (sample !== undefined) {
      // Between the two moments on the server, at least 99 % as long has passed here.
      const since = Math.max(0, pushed.serverTime - sample.serverTime) * 0.99;
      const from = { monotonic: sample.from.monotonic + since, wall: sample.from.wall + since };
      const left = pushed.lease - marginOf(pushed.lease) - elapsedSince(from, clock);
      if (left > pushed.lease * 0.3) {
        const { token, lease, contended } = pushed;
        this.#settle();
        this.#user.onGranted(this, { kind: 'granted', token, lease, from, contended });
        return;
      }
    }
    // How much of the lease is left is not known well enough, so nobody is told before the server has renewed it.
    this.#claim(pushed);
  }

  /** Gives up. Resolves when the backend knows it. */
  cancel(): Promise<void> {
    if (this.#settled) return Promise.resolve();
    this.#settle();
    this.#cancelled = true;
    // A question can take several commands: one that is under way could ask again behind a cancellation sent now, and
    // bring back a place or a hold that nobody wants. Its answer, or its failure, sends the cancellation; see #stray.
    return this.#open > 0 ? Promise.resolve() : this.#engine.giveBack(this.request);
  }

  #askLong(): void {
    if (this.#settled) {
      this.#open -= 1;
      this.#stray();
      return;
    }
    // Only now can a grant be pushed.
    this.#engine.requests.set(this.request.holdId, this);
    this.#engine.backend.acquire(this.request, { queue: this.#queue }).then(
      (answer) => {
        this.#open -= 1;
        this.#onAnswer(answer);
      },
      (error: unknown) => {
        this.#open -= 1;
        this.#onFailure(error);
      },
    );
  }

  #claim(pushed: PushedGrant): void {
    const { request } = this;
    this.#engine.backend.claim(request, 0).then(
      ({ held, contended, from }) => {
        if (this.#settled) return;
        if (!held) {
          this.ask();
          return;
        }
        this.#settle();
        this.#user.onGranted(this, {
          kind: 'granted',
          token: pushed.token,
          lease: request.lease,
          from,
          contended,
        });
      },
      (error: unknown) => this.#onFailure(error),
    );
  }

  /** Something came for a request that is over. */
  #stray(): void {
    if (!this.#cancelled || this.#open > 0) return;
    this.#engine.background(() => this.#engine.giveBack(this.request), 'give back what came too late');
  }

  #onAnswer(answer: Grant | Busy): void {
    if (this.#settled) {
      this.#stray();
      return;
    }
    this.#failures = 0;
    this.failure = undefined;
    if (answer.kind === 'granted') {
      this.#settle();
      this.#user.onGranted(this, answer);
      return;
    }
    if (!this.#queue) {
      this.#settle();
      this.#user.onBusy(this);
      return;
    }
    this.#sample = answer;
    this.position = answer.position;
    // The next one looks as soon as a lease can have run out, the others a little later, in case it is gone.
    const turn = answer.retryAfter + 2 + Math.min(Math.max(answer.position - 1, 0), 100) * 5;
    const refresh = WAITER_REFRESH * (0.9 + this.#engine.options.random() * 0.1);
    this.#schedule(Math.min(turn, refresh), true);
    this.#user.onQueued(this);
  }

  #onFailure(error: unknown): void {
    if (this.#settled) {
      this.#stray();
      return;
    }
    this.failure = error;
    if (error instanceof LockUnavailableError) {
      this.#settle();
      this.#user.onFailed(this, error);
      return;
    }
    this.#failures += 1;
    const delay = Math.min(25 * 2 ** Math.min(this.#failures, 5), 500);
    this.#schedule(delay * (0.5 + this.#engine.options.random() / 2), true);
  }

  #schedule(delay: number, ref: boolean): void {
    const { waits, leases, clock } = this.#engine;
    waits.cancel(this);
    leases.cancel(this);
    (ref ? waits : leases).schedule(this, clock.monotonic() + delay);
  }

  #settle(): void {
    this.#settled = true;
    this.#engine.waits.cancel(this);
    this.#engine.leases.cancel(this);
    this.#engine.requests.delete(this.request.holdId);
  }
}
