import { XiaokeError } from '@xiaoke/core';

/** The codes of this package's errors, each with what it means. */
export const QUEUE_ERRORS = {
  QUEUE_CLOSED: 'the manager is closed or closing',
  QUEUE_UNAVAILABLE:
    'the backend did not take the work in time; it may or may not have it: repeat with the same id',
  UNSUPPORTED: 'this backend does not have the feature',
  HANDLER_EXISTS: 'a handler is already registered under this name',
  HANDLER_NOT_FOUND: 'no handler is registered under this name in the worker that got the task',
  PAYLOAD_NOT_SERIALIZABLE: 'the payload is cyclic, holds a BigInt, or is otherwise no JSON',
  PAYLOAD_TOO_LARGE: 'the payload is larger than payloadLimit',
  PAYLOAD_INVALID: 'the payload does not fit the schema of its task',
  RESULT_NOT_SERIALIZABLE: 'the handler returned something that is no JSON, or that is too large',
  TASK_FAILED: 'the task is in the dead letters',
  TASK_CANCELLED: 'the task was cancelled',
  TASK_EXPIRED: 'the task was not started within its ttl',
  TASK_NOT_FOUND: 'the backend knows no such task, or its record was dropped by retention',
  LEASE_LOST: 'the worker lost its claim of the task: it may run elsewhere',
  WORKER_CLOSING: 'the worker pool is closing',
  STALLED: 'the worker that ran the task died too often',
  CHILD_FAILED: 'a child of the task is in the dead letters',
  WORKER_CRASHED: 'the thread or process that ran the task died',
} as const;

/** A code of {@link QUEUE_ERRORS}. */
export type QueueErrorCode = keyof typeof QUEUE_ERRORS;

/** What this package throws, told apart by `code`. */
export class QueueError extends XiaokeError {
  static override readonly brand: string = 'xiaoke.QueueError';
  declare readonly code: QueueErrorCode;

  constructor(
    code: QueueErrorCode,
    message: string,
    options: { readonly cause?: unknown; readonly details?: Readonly<Record<string, unknown>> } = {},
  ) {
    super(code, message, options);
  }
}

/** An error as it is kept with a task. */
export interface TaskErrorInfo {
  readonly name: string;
  readonly message: string;
  readonly code?: string;
  readonly stack?: string;
}

const MAX_TEXT = 4_000;

/** Turns anything thrown into what is kept of it; long texts are cut. */
export function describeError(error: unknown): TaskErrorInfo {
  if (!(error instanceof Error)) return { name: 'Error', message: cut(String(error)) };
  const code: unknown = Reflect.get(error, 'code');
  return {
    name: error.name,
    message: cut(error.message),
    ...(typeof code === 'string' ? { code } : {}),
    ...(error.stack === undefined ? {} : { stack: cut(error.stack) }),
  };
}

function cut(text: string): string {
  return text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}…` : text;
}
