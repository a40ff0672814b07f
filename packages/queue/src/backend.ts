import type { HealthIndication } from '@xiaoke/core';

/** The index of a ready list: 0 high, 1 normal, 2 low. */
export type PriorityIndex = 0 | 1 | 2;

/** At most `limit` in any `per` milliseconds, spread evenly (GCRA) with a burst of `limit`. */
export interface RateRule {
  readonly limit: number;
  readonly per: number;
}

/** A group's rules travel with its tasks; the last one enqueued wins. */
export interface GroupRule {
  readonly key: string;
  readonly concurrency: number;
  readonly rate?: RateRule | undefined;
}

/**
 * At most one live task per key in the namespace, over all its queues. `replace` acts within a queue: what holds the key in
 * another one stays, and stands for the new task. `throttle` also holds the key for `forMs` after the task was enqueued.
 */
export interface UniqueRule {
  readonly key: string;
  readonly mode: 'reject' | 'replace' | 'throttle';
  readonly forMs: number;
}

/** The task that waits for this one, and what becomes of it when this one dies. */
export interface ParentLink {
  readonly id: string;
  readonly onFailure: 'fail' | 'ignore';
}

/** What else has to move when a task reaches its end. */
export interface TaskLinks {
  readonly unique?: string | undefined;
  readonly group?: GroupRule | undefined;
  readonly parent?: ParentLink | undefined;
}

/** A task as it is handed to a backend. */
export interface NewTask {
  readonly id: string;
  readonly queue: string;
  readonly priority: PriorityIndex;
  /** Not before this many milliseconds from now, by the backend's clock. */
  readonly delayMs: number;
  /** Not before this time, by the backend's clock; wins over `delayMs`. */
  readonly runAt?: number | undefined;
  /** The envelope, opaque to the backend. */
  readonly blob: string;
  readonly unique?: UniqueRule | undefined;
  readonly group?: GroupRule | undefined;
  /** The task that waits for it. */
  readonly parent?: ParentLink | undefined;
  /** Ids of the children it waits for. */
  readonly children?: readonly string[] | undefined;
}

/** Whether the task is new, and if not, which one is there. */
export interface EnqueueReply {
  readonly id: string;
  readonly duplicate: boolean;
}

/** A task in the hands of a worker. `token` grows with every claim in the namespace's partition. */
export interface Claim {
  readonly id: string;
  readonly token: number;
  readonly blob: string;
  /** Attempts that counted before this one. */
  readonly attempts: number;
  /** How often the worker that had it was lost. */
  readonly stalls: number;
}

/** How a claim ends. Texts are JSON, opaque to the backend. */
export type Outcome =
  | { readonly kind: 'completed'; readonly result: string; readonly keepMs: number }
  | { readonly kind: 'retry'; readonly delayMs: number; readonly counted: boolean; readonly error: string }
  | {
      readonly kind: 'dead' | 'cancelled' | 'expired';
      readonly error: string;
      readonly keepMs: number;
      readonly counted: boolean;
    }
  /** Back to the head of its list, as if it had never been claimed. */
  | { readonly kind: 'return' };

/** An outcome with the claim it is about. A claim that is no longer this worker's changes nothing. */
export interface Settlement {
  readonly id: string;
  readonly token: number;
  readonly priority: PriorityIndex;
  readonly outcome: Outcome;
  readonly links?: TaskLinks | undefined;
  /** It failed or stalled before, so there is something about it to forget. */
  readonly repeated: boolean;
}

/** One exchange with a queue: settle what is done, take at most `want` more. */
export interface TurnRequest {
  readonly settlements: readonly Settlement[];
  readonly want: number;
  /** How many to take from which list, in this order; what is left over is taken in order of priority. */
  readonly quotas: readonly (readonly [PriorityIndex, number])[];
}

/** What came of a turn. */
export interface TurnReply {
  /** The backend's time. */
  readonly now: number;
  /** Ids of settlements that were refused because the claim was no longer ours. */
  readonly lost: readonly string[];
  readonly claims: readonly Claim[];
  /** Milliseconds until something may become claimable without anybody enqueueing; `undefined` when nothing is in sight. */
  readonly nextMs: number | undefined;
}

/** Called by a session when something happened that its pool should act on. */
export interface SessionListener {
  /** Tasks of this session that somebody asked to cancel. */
  onCancel(id: string, reason: string): void;
  /** An outage has begun; the session goes on trying. */
  onError(error: unknown): void;
  /** Turns of this queue that are under way have to be repeated, for as long as it takes. */
  onDelay(queue: string): void;
  /** Claims that are no longer ours. */
  onLost(ids: readonly string[]): void;
  /** The ids that this session's pool believes it holds, per queue. */
  held(): readonly { readonly queue: string; readonly id: string; readonly token: number }[];
}

/** The place of one worker pool at one partition of a backend: its identity, its lease, its wake-ups. */
export interface Session {
  readonly partition: number;
  /** How many turns of one queue may be under way at once. @default 1 */
  readonly turnsAtOnce?: number;
  /**
   * One exchange, at most `turnsAtOnce` per queue at a time. It is repeated through outages for as long as the session is open, and a
   * repetition gives what the first gave. It rejects when the session closes, or when repeating cannot help; the same
   * settlements may then be sent again.
   */
  turn(queue: string, request: TurnRequest): Promise<TurnReply>;
  /** Waits until one of `queues` may have work, at most `timeoutMs`. Resolves to those worth a turn. */
  wait(queues: readonly string[], timeoutMs: number): Promise<readonly string[]>;
  /** Gives a wake-up that this session cannot use to another one. */
  passOn(queue: string): void;
  /** Renews the lease and asks about the claims held. */
  beat(): Promise<void>;
  /** Ends a wait now. */
  interrupt(): void;
  /** The pool has another number of slots now; who inspects the queue wants to know. */
  resize(slots: number): void;
  /** Gives up the lease; claims left are returned without counting an attempt. */
  close(timeoutMs: number): Promise<void>;
}

/** A task that was found with a lost worker and put back. */
export interface StalledTask {
  readonly id: string;
  readonly queue: string;
}

/** A task as the status store knows it. */
export interface StoredTask {
  readonly id: string;
  readonly blob: string;
  readonly state: 'waiting' | 'delayed' | 'active' | 'completed' | 'dead' | 'cancelled' | 'expired';
  readonly attempts: number;
  readonly stalls: number;
  readonly token?: number | undefined;
  readonly worker?: string | undefined;
  readonly runAt?: number | undefined;
  readonly startedAt?: number | undefined;
  readonly finishedAt?: number | undefined;
  /** JSON: the result, or the error of the last attempt. */
  readonly result?: string | undefined;
  readonly error?: string | undefined;
  readonly progress?: string | undefined;
  readonly logs: readonly string[];
  readonly pendingChildren: number;
}

/** Progress and log lines of a running task; they count only for the claim that is current. */
export interface TaskNote {
  readonly id: string;
  readonly queue: string;
  readonly token: number;
  readonly progress?: string | undefined;
  readonly lines: readonly string[];
}

/** What a queue may do at once and per time, over all its workers. */
export interface QueueLimits {
  readonly concurrency?: number | undefined;
  readonly rate?: RateRule | undefined;
}

/** The counts of one queue in one partition. */
export interface QueueCounts {
  readonly queue: string;
  readonly waiting: readonly [number, number, number];
  readonly grouped: number;
  readonly delayed: number;
  readonly active: number;
  readonly dead: number;
  readonly completed: number;
  readonly failedAttempts: number;
  readonly enqueued: number;
  readonly oldestWaitingAt: number | undefined;
  readonly paused: boolean;
  readonly workers: number;
  readonly slots: number;
  readonly now: number;
}

/** A schedule as it is stored. */
export interface StoredSchedule {
  readonly id: string;
  /** JSON of the definition. */
  readonly definition: string;
  readonly nextAt: number;
  /** Where the backend keeps it; whoever fires it hands this back. */
  readonly home?: number | undefined;
}

/** A schedule as it is to be stored. */
export interface SchedulePut {
  readonly schedule: StoredSchedule;
  /** The definition as it was read; `undefined` when there was none. The put counts only if that is still so. */
  readonly expected: string | undefined;
  /** Its rule has not changed: the next time that is stored stays, whoever moved it meanwhile. */
  readonly keepsTime: boolean;
  /** What decides where its tasks live. */
  readonly task: Pick<NewTask, 'queue' | 'unique' | 'group'>;
}

/** One fire of a schedule: accepted only if its next time still is `expected`. */
export interface ScheduleFire {
  readonly id: string;
  readonly definition: string;
  readonly expected: number;
  readonly next: number;
  readonly tasks: readonly NewTask[];
  /** The queue of its tasks, also when there are none. */
  readonly queue: string;
  /** `skip`: nothing is enqueued while the task of the last fire is still live. */
  readonly overlap: 'allow' | 'skip';
  readonly home?: number | undefined;
}

/**
 * The status of tasks, behind its own seam: a broker that only moves messages (RabbitMQ) borrows the one of Redis or
 * memory.
 */
export interface StatusStore {
  read(ids: readonly string[]): Promise<readonly (StoredTask | undefined)[]>;
  note(notes: readonly TaskNote[]): Promise<void>;
  /** The results of a task's finished children, JSON by child id. */
  childResults(id: string, children: readonly string[]): Promise<ReadonlyMap<string, string>>;
  /** Calls back with ids that may have reached their end: a hint that can be missed, never the truth. */
  onFinished(listener: (ids: readonly string[]) => void): () => void;
  /** Calls back when a schedule was changed by anybody: a hint. */
  onScheduleChange(listener: () => void): () => void;
  /** `false` when the schedule is no longer what `expected` says. */
  putSchedule(put: SchedulePut): Promise<boolean>;
  removeSchedule(id: string): Promise<boolean>;
  listSchedules(): Promise<readonly StoredSchedule[]>;
  dueSchedules(
    limit: number,
  ): Promise<{ now: number; due: readonly StoredSchedule[]; nextMs: number | undefined }>;
  fireSchedule(fire: ScheduleFire): Promise<'fired' | 'skipped' | 'raced'>;
}

/**
 * Where tasks live. Guarantees every backend gives:
 *
 * - a task that `enqueue` resolved for is in exactly one place until it is settled, cancelled, purged or dropped by
 *   retention; every transition is atomic;
 * - everything may be repeated: a second `enqueue` of an id, a settlement sent twice and a fire sent twice change nothing;
 * - a settlement counts only for the claim that is current (fencing);
 * - what a dead worker held comes back by {@link Backend.recover}, at the head of its list, with the stall counted.
 */
export interface Backend extends StatusStore {
  readonly type: 'memory' | 'redis' | 'rabbitmq';
  readonly partitions: number;
  /** The backend's time in milliseconds since the epoch, as far as this process knows; its own clock may be wrong. */
  now(): number;
  /** Completes a fresh id: with several partitions it names the one where the task's keys live. */
  newId(
    id: string,
    task: { readonly unique: UniqueRule | undefined; readonly group: GroupRule | undefined },
  ): string;
  /** Makes sure the backend answers; rejects with `QUEUE_UNAVAILABLE`. */
  open(): Promise<void>;
  enqueue(tasks: readonly NewTask[]): Promise<readonly EnqueueReply[]>;
  session(partition: number, slots: number, queues: readonly string[], listener: SessionListener): Session;
  /** Puts back what lost workers held. */
  recover(): Promise<readonly StalledTask[]>;
  /** Drops records past their retention, relays flow events, cleans up; a bounded piece of work. */
  maintain(): Promise<void>;
  /** `cancelled`: it will not run; `requested`: it runs, its worker is told; `none`: unknown or already at its end. */
  cancel(id: string, reason: string): Promise<'cancelled' | 'requested' | 'none'>;
  deadLetters(
    queue: string,
    limit: number,
    cursor: string | undefined,
  ): Promise<{ ids: readonly string[]; cursor: string | undefined }>;
  /** Puts dead letters back to the tail of their list with fresh attempts; resolves to how many. */
  retryDead(ids: readonly string[]): Promise<number>;
  purgeDead(ids: readonly string[]): Promise<number>;
  setPaused(queue: string | undefined, paused: boolean): Promise<void>;
  setLimits(queue: string, limits: QueueLimits): Promise<void>;
  /** Cancels what waits (and, with `delayed`, what is delayed); resolves to how many. */
  drain(queue: string, delayed: boolean): Promise<number>;
  queues(): Promise<readonly string[]>;
  counts(queues: readonly string[]): Promise<readonly QueueCounts[]>;
  health(signal: AbortSignal): Promise<HealthIndication>;
  close(timeoutMs: number): Promise<void>;
}
