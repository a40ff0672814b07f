import type { TaskErrorInfo } from './errors.ts';

/** What every task event carries. */
export interface TaskEvent {
  readonly id: string;
  readonly name: string;
  readonly queue: string;
}

/** Why a task is in the dead letters. */
export type DeadReason =
  | 'ATTEMPTS_EXHAUSTED'
  | 'NON_RETRYABLE'
  | 'TIMEOUT'
  | 'HANDLER_NOT_FOUND'
  | 'PAYLOAD_INVALID'
  | 'STALLED'
  | 'CHILD_FAILED';

/**
 * The events of a queue manager: what this process did and saw. `completed`, `retrying`, `dead` and `cancelled` fire after
 * the backend has the outcome.
 */
export interface QueueEvents {
  enqueued: [event: TaskEvent];
  started: [event: TaskEvent & { readonly attempt: number }];
  progress: [event: TaskEvent & { readonly progress: unknown }];
  completed: [event: TaskEvent & { readonly result: unknown; readonly durationMs: number }];
  retrying: [
    event: TaskEvent & { readonly attempt: number; readonly delayMs: number; readonly error: TaskErrorInfo },
  ];
  dead: [event: TaskEvent & { readonly reason: DeadReason; readonly error: TaskErrorInfo }];
  cancelled: [event: TaskEvent & { readonly reason: string }];
  expired: [event: TaskEvent];
  stalled: [event: { readonly id: string; readonly queue: string }];
}
