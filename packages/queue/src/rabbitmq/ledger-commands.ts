import type {
  Claim,
  EnqueueReply,
  NewTask,
  PriorityIndex,
  QueueLimits,
  ScheduleFire,
  Settlement,
  StoredSchedule,
  TaskNote,
} from '../backend.ts';

/** A message that the ledger owes to the broker. */
export interface Ticket {
  readonly id: string;
  readonly generation: number;
  readonly queue: string;
  readonly priority: PriorityIndex;
  /** Not before this time; 0 for at once. */
  readonly dueAt: number;
  readonly blob: string;
  readonly attempts: number;
  readonly stalls: number;
}

/** A message as a worker has it from the broker, and asks whether to run it. */
export interface Offer {
  readonly id: string;
  readonly generation: number;
  readonly priority: PriorityIndex;
  readonly redelivered: boolean;
  readonly attempts: number;
  readonly stalls: number;
  /** Left out when the asking process knows that the ledger has it. */
  readonly blob?: string | undefined;
}

/** What the ledger is told. Every command may be told twice, and is applied once. */
export type Command =
  | { readonly op: 'admit'; readonly tasks: readonly NewTask[] }
  | {
      readonly op: 'turn';
      readonly queue: string;
      readonly worker: string;
      readonly settlements: readonly Settlement[];
      readonly offers: readonly Offer[];
    }
  | { readonly op: 'sent'; readonly messages: readonly (readonly [id: string, generation: number])[] }
  /** Takes over what has been owed for longer than `olderThan`. */
  | { readonly op: 'relay'; readonly olderThan: number }
  /** A list of the broker is gone; the first to say so gets everything that lay in it. */
  | {
      readonly op: 'rebuild';
      readonly queue: string;
      readonly priority: PriorityIndex;
      readonly incarnation: number;
    }
  | { readonly op: 'cancel'; readonly id: string; readonly reason: string }
  | { readonly op: 'drain'; readonly queue: string; readonly delayed: boolean }
  | { readonly op: 'revive'; readonly ids: readonly string[] }
  | { readonly op: 'purge'; readonly ids: readonly string[] }
  /** A message was found among the dead letters of the broker that the ledger does not know as dead. */
  | { readonly op: 'bury'; readonly queue: string; readonly offer: Offer; readonly error: string }
  /** The broker does not hold these dead letters any more. */
  | { readonly op: 'dug'; readonly queue: string; readonly ids: readonly string[] }
  | { readonly op: 'pause'; readonly queue: string | undefined; readonly paused: boolean }
  | { readonly op: 'limits'; readonly queue: string; readonly limits: QueueLimits }
  | { readonly op: 'note'; readonly notes: readonly TaskNote[] }
  | {
      readonly op: 'schedule';
      readonly schedule: StoredSchedule;
      readonly expected: string | undefined;
      readonly keepsTime: boolean;
    }
  | { readonly op: 'unschedule'; readonly id: string }
  | { readonly op: 'fire'; readonly fire: ScheduleFire }
  | {
      readonly op: 'announce';
      readonly worker: string;
      readonly queues: readonly string[];
      readonly slots: number;
      readonly forMs: number;
    }
  | { readonly op: 'sweep' }
  /** Changes nothing; when it was applied, the view is as new as everything said before it. */
  | { readonly op: 'look' };

/** What came of a command. */
export interface Reply {
  readonly now: number;
  readonly enqueued: EnqueueReply[];
  readonly lost: string[];
  readonly claims: Claim[];
  /** Claims whose last worker was lost. */
  readonly stalled: string[];
  /** Offers whose message is to be acknowledged without running it. */
  readonly dropped: string[];
  /** Offers that cannot run now: paused, or over a limit. */
  readonly later: string[];
  /** Offers that nobody can judge without their text. */
  readonly unknown: string[];
  /** Milliseconds until a limit lets more through. */
  nextMs: number | undefined;
  /** Messages to publish, then to report as sent. */
  readonly tickets: Ticket[];
  /** Messages to lay beside, among the dead letters of the broker. */
  readonly graves: Ticket[];
  count: number;
  outcome: 'cancelled' | 'requested' | 'none' | 'fired' | 'skipped' | 'raced' | undefined;
}

/** An empty reply. */
export function newReply(now: number): Reply {
  return {
    now,
    enqueued: [],
    lost: [],
    claims: [],
    stalled: [],
    dropped: [],
    later: [],
    unknown: [],
    nextMs: undefined,
    tickets: [],
    graves: [],
    count: 0,
    outcome: undefined,
  };
}
