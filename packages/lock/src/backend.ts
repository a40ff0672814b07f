/** How a hold shares its resource with others. */
export type HoldMode = 'exclusive' | 'shared' | 'permits';

/** What can be held. Locks and semaphores of the same key are different things. */
export interface Resource {
  readonly kind: 'lock' | 'semaphore';
  readonly key: string;
}

/** A moment on both clocks, since either may fail: the monotonic one stops in suspend, the wall clock can be set. */
export interface Instant {
  readonly monotonic: number;
  readonly wall: number;
}

/** Names a hold. `holdId` begins with the id of its process. */
export interface HoldRef {
  readonly resource: Resource;
  readonly holdId: string;
  readonly mode: HoldMode;
}

/** A wish for a hold. Repeating it with the same `holdId` is safe and never gives two holds. */
export interface HoldRequest extends HoldRef {
  /** In milliseconds. */
  readonly lease: number;
  /** How many fencing tokens to take, for hand-over inside the process. */
  readonly block: number;
  readonly priority: number;
  /** The holder's process shall not hand over locally past this waiter. */
  readonly urgent: boolean;
  /** Permits: how many are wanted, and how many there are. */
  readonly weight: number;
  readonly limit: number;
  /** Shown in inspections and errors. */
  readonly owner: string;
}

/** How a hold is asked for. */
export interface Asking {
  /** Whether to join the queue when it is busy. */
  readonly queue: boolean;
}

/** The hold is ours. */
export interface Grant {
  readonly kind: 'granted';
  /** The first of `block` tokens. */
  readonly token: number;
  readonly lease: number;
  /** No later than when the server started the lease. */
  readonly from: Instant;
  readonly contended: boolean;
}

/** The hold is not ours. When the request was to be queued, it is. */
export interface Busy {
  readonly kind: 'busy';
  /** The place in the queue, 1 being next; 0 when not queued. */
  readonly position: number;
  /** When to ask again at the latest, in milliseconds: the earliest time at which a lease can run out. */
  readonly retryAfter: number;
  /** Relates the server's clock to ours, for the grant that will be pushed. */
  readonly from: Instant;
  readonly serverTime: number;
}

/** A grant that came without being asked for again. Its lease is short: it has to be claimed. */
export interface PushedGrant {
  readonly holdId: string;
  readonly token: number;
  readonly serverTime: number;
  readonly lease: number;
  readonly contended: boolean;
}

/** What a renewal found. */
export interface Renewal {
  readonly held: boolean;
  readonly contended: boolean;
  /** When more tokens were asked for: the first of them. */
  readonly token: number;
  readonly from: Instant;
}

/** One renewal. */
export interface RenewRequest extends HoldRef {
  readonly lease: number;
  /** With which it was granted, for a server of a quorum that has forgotten it. */
  readonly token?: number | undefined;
}

/** A holder as the backend knows it. */
export interface HolderRecord {
  readonly holdId: string;
  readonly mode: HoldMode;
  readonly token: number;
  readonly owner: string;
  readonly ageMs: number;
  readonly expiresInMs: number;
  readonly permits: number;
}

/** A waiter as the backend knows it. */
export interface WaiterRecord {
  readonly holdId: string;
  readonly mode: HoldMode | 'upgrade';
  readonly owner: string;
  readonly priority: number;
  readonly waitedMs: number;
}

/** Who holds a resource and who waits, in order. */
export interface ResourceRecord {
  readonly resource: Resource;
  readonly holders: readonly HolderRecord[];
  readonly waiters: readonly WaiterRecord[];
}

/** "Whoever has `holdId` waits for `waitsFor`", kept beside the resource that is held. */
export interface WaitEdge {
  readonly attempt: string;
  readonly holdId: string;
  readonly waitsFor: string;
  readonly since: number;
  readonly priority: number;
  readonly owner: string;
}

/** Whoever now has a resource, with the edges that they have registered. */
export interface HolderEdges {
  readonly holdId: string;
  readonly edges: readonly WaitEdge[];
}

/** What a backend tells without being asked. Every one of these may be missed: they are hints, never the truth. */
export interface BackendListener {
  onGrant(grant: PushedGrant): void;
  /** Somebody of another process waits for this hold. */
  onContended(holdId: string, urgent: boolean): void;
  onRevoked(holdId: string): void;
  onVictim(attempt: string, cycle: string): void;
  /** Messages may have been missed: look at the truth. */
  onGap(): void;
  /** A resource changed hands: whoever watches it may look now. */
  onChanged(resource: Resource): void;
}

/** A request on the short way; it is told exactly once. */
export interface Taker {
  readonly request: HoldRequest;
  /** @param token - the first of `block` tokens; 0 when it was not free: ask the long way */
  onTaken(token: number, from: Instant): void;
  onTakeFailed(error: unknown): void;
}

/** A release on the short way; it is told exactly once. */
export interface Leaver {
  readonly hold: HoldRef;
  /** @param state - 1 released, 0 not held, 2 somebody waits: release it the long way */
  onLeft(state: number): void;
  onLeaveFailed(error: unknown): void;
}

/**
 * The short way for exclusive locks that nobody else wants, with callbacks instead of a promise for each step. What one
 * turn of the event loop asks may be sent together, before any input or timer.
 */
export interface ShortWay {
  /** @param alone - whether nothing else is going on, so that it is sent at once */
  take(taker: Taker, alone: boolean): void;
  leave(leaver: Leaver, alone: boolean): void;
  /** Resolves when what was asked so far was sent; `undefined` when it was sent already. */
  readonly sent: Promise<void> | undefined;
}

/**
 * Where holds are kept. Invariants that every backend keeps:
 *
 * - at most one exclusive holder, and never one together with a shared holder;
 * - a hold ends by itself when its lease does;
 * - "was busy" and "is queued" are one atomic step, and every departure grants to the head of the queue, so no wake-up
 *   is lost; an expiry is noticed by the waiter that asks again after `retryAfter`;
 * - tokens of a resource only grow, in the order of the grants, also after the backend's data was lost;
 * - everything is keyed by `holdId`, so every call is safe to repeat.
 */
export interface LockBackend {
  readonly kind: 'memory' | 'redis' | 'quorum';
  /** Whether a new token is larger than all earlier ones of *every* key, not only of the same one. */
  readonly tokensAreGlobal: boolean;
  /** Absent when there is none. */
  readonly shortWay?: ShortWay | undefined;
  start(processId: string, listener: BackendListener): Promise<void>;
  acquire(request: HoldRequest, asking: Asking): Promise<Grant | Busy>;
  /** Leaves the queue, and gives back a grant that was already made. */
  cancel(hold: HoldRef): Promise<void>;
  /**
   * Resolves `false` when it was not held any more.
   *
   * @param contended - whether somebody is known to wait, so that the short way need not be tried
   */
  release(hold: HoldRef, contended?: boolean): Promise<boolean>;
  /** In the order of `holds`; an entry is an Error when its server could not be asked. */
  renew(holds: readonly RenewRequest[]): Promise<readonly (Renewal | Error)[]>;
  /** Renews one hold, and takes `block` more tokens when that is not 0. */
  claim(hold: RenewRequest, block: number): Promise<Renewal>;
  /** Makes tokens of `resource` larger than `token`. */
  raise(resource: Resource, token: number): Promise<void>;
  /** Shared to exclusive: granted, queued at the head, or refused because another one upgrades. */
  upgrade(request: HoldRequest): Promise<Grant | Busy | 'conflict' | 'lost'>;
  /** Exclusive to shared; an upgrade that still waits is given up. Resolves `false` when it was not held any more. */
  downgrade(request: HoldRequest): Promise<boolean>;
  inspect(resource: Resource): Promise<ResourceRecord>;
  inspectAll(): AsyncIterable<ResourceRecord>;
  /** Takes a resource from its holders. Resolves to how many there were. */
  force(resource: Resource): Promise<number>;
  addEdge(resource: Resource, edge: WaitEdge): Promise<void>;
  removeEdge(resource: Resource, attempt: string): Promise<void>;
  readEdges(resource: Resource): Promise<readonly HolderEdges[]>;
  tellVictim(processId: string, attempt: string, cycle: string): Promise<void>;
  /** Tells how well the servers answer. */
  check(signal: AbortSignal): Promise<'healthy' | 'degraded' | 'unhealthy'>;
  close(timeout: number): Promise<void>;
}

/** The process that a hold belongs to. */
export function processOf(holdId: string): string {
  return holdId.slice(0, holdId.lastIndexOf(':'));
}
