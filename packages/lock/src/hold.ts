import type { Clock } from '@xiaoke/core';
import type { Grant, HoldMode, HoldRef, HoldRequest, Instant, Resource } from './backend.ts';
import { LockLostError, type LostReason } from './errors.ts';
import type { Linked } from './linked-set.ts';
import type { TimelineEntry } from './timeline.ts';

/**
 * How much earlier than the server we take a lease to be over: 1 % for clocks that run at different rates, as much
 * again for a timer that fires late, and never less than 10 ms.
 */
export function marginOf(lease: number): number {
  return Math.max(10, lease * 0.02);
}

/** Milliseconds since `from`, by whichever clock saw more: the monotonic one stands still while a machine sleeps. */
export function elapsedSince(from: Instant, clock: Clock): number {
  return Math.max(clock.monotonic() - from.monotonic, clock.now() - from.wall);
}

/** What keeps holds. */
export interface HoldOwner {
  readonly clock: Clock;
  /** A renewal or a deadline is due. */
  keep(hold: Hold): void;
  /** It was lost. */
  onOver(hold: Hold, reason: LostReason): void;
}

/** Whoever uses a hold. */
export interface HoldUser {
  /** Called once when it is lost; not when it is released. */
  onLost(error: LockLostError): void;
  /** Somebody of another process waits; called at most once per message. */
  onContended(urgent: boolean): void;
}

/** A hold that this process believes it has, and until when. */
export class Hold implements HoldRef, TimelineEntry, Linked<Hold> {
  dueAt = 0;
  heapIndex = -1;
  before: Hold | undefined;
  after: Hold | undefined;
  /** The next one of the same bucket in the table of holds. */
  sameBucket: Hold | undefined;
  readonly resource: Resource;
  readonly holdId: string;
  readonly request: HoldRequest;
  mode: HoldMode;
  /** The lease that renewals ask for. */
  ttl: number;
  /** The lease that runs, and no later than when the server started it. */
  lease: number;
  from: Instant;
  token: number;
  /** The next renewal, on the monotonic clock; Infinity when there is none. */
  renewAt: number = Infinity;
  autoExtend: boolean = false;
  /** When `maxHold` ends it, on the monotonic clock. */
  until: number = Infinity;
  contended: boolean;
  /** A renewal was sent and not answered, or failed. */
  unanswered: boolean = false;
  /** Set once the hold is over. */
  over: LostReason | undefined;
  /** The metric label of whoever uses it. */
  label = '';
  /** A lock of several keys rests on it, so no later turn may get one of its tokens. */
  sealed = false;
  /** Told of what happens to it; absent for a moment after it was granted. */
  user: HoldUser | undefined;
  readonly #owner: HoldOwner;
  readonly #clock: Clock;

  constructor(request: HoldRequest, grant: Grant, owner: HoldOwner) {
    this.request = request;
    this.resource = request.resource;
    this.holdId = request.holdId;
    this.mode = request.mode;
    this.ttl = request.lease;
    this.lease = grant.lease;
    this.from = grant.from;
    this.token = grant.token;
    this.contended = grant.contended;
    this.#owner = owner;
    this.#clock = owner.clock;
  }

  /** Milliseconds for which the hold is certain; 0 when it is over or can be. */
  remaining(): number {
    if (this.over !== undefined) return 0;
    const byLease = this.lease - marginOf(this.lease) - elapsedSince(this.from, this.#clock);
    return Math.max(0, Math.min(byLease, this.until - this.#clock.monotonic()));
  }

  /** The server confirmed a lease that began no earlier than `from`. An answer to an older question changes nothing. */
  confirm(lease: number, from: Instant): void {
    this.unanswered = false;
    if (from.monotonic < this.from.monotonic) return;
    this.lease = lease;
    this.from = from;
  }

  /** Ends it as lost. Nothing happens when it is over already. */
  lose(reason: LostReason): void {
    if (this.over !== undefined) return;
    this.over = reason;
    this.#owner.onOver(this, reason);
    this.user?.onLost(new LockLostError([this.resource.key], reason));
  }

  /** The {@link TimelineEntry} of the keeper. */
  onDue(): void {
    this.#owner.keep(this);
  }
}
