import type { StoredTask } from './backend.ts';
import { decodeEnvelope } from './envelope.ts';
import { QueueError, type TaskErrorInfo } from './errors.ts';
import type { DeadReason } from './events.ts';
import { PRIORITIES } from './task-options.ts';
import type { TaskRecord } from './task.ts';

/** A stored task as its readers see it. */
export function toRecord(stored: StoredTask, now: number): TaskRecord {
  const envelope = decodeEnvelope(stored.blob);
  const error = parse(stored.error) as (TaskErrorInfo & { reason?: DeadReason }) | undefined;
  // A task past its ttl will never run, also when no worker has come across it yet.
  const overdue =
    (stored.state === 'waiting' || stored.state === 'delayed') &&
    envelope.ttlMs !== undefined &&
    now >= envelope.enqueuedAt + envelope.ttlMs;
  return {
    id: stored.id,
    name: envelope.name,
    queue: envelope.queue,
    priority: PRIORITIES[envelope.priority] ?? 'normal',
    state: overdue ? 'expired' : stored.state,
    payload: envelope.payload,
    attempts: stored.attempts + (stored.state === 'active' ? 1 : 0),
    maxAttempts: envelope.attempts,
    stalls: stored.stalls,
    progress: parse(stored.progress),
    result: parse(stored.result),
    error: error === undefined ? undefined : strip(error),
    reason: stored.state === 'dead' ? error?.reason : undefined,
    logs: stored.logs,
    enqueuedAt: new Date(envelope.enqueuedAt),
    runAt: date(stored.runAt),
    startedAt: date(stored.startedAt),
    finishedAt: date(stored.finishedAt),
    worker: stored.worker,
    fencingToken: stored.token,
    pendingChildren: stored.pendingChildren,
  };
}

/** The result of a task that has ended, or the error that says how it ended; `undefined` while it lives. */
export function resultOf(
  record: TaskRecord,
): { readonly value: unknown } | { readonly error: QueueError } | undefined {
  const { id, name, state, error, reason } = record;
  const details = { id, name, reason: reason ?? error?.code, attempts: record.attempts, error };
  if (state === 'completed') return { value: record.result };
  if (state === 'dead')
    return {
      error: new QueueError('TASK_FAILED', `Task "${name}" failed: ${error?.message ?? ''}`, { details }),
    };
  if (state === 'cancelled')
    return {
      error: new QueueError('TASK_CANCELLED', `Task "${name}" was cancelled: ${error?.message ?? ''}`, {
        details,
      }),
    };
  if (state === 'expired')
    return { error: new QueueError('TASK_EXPIRED', `Task "${name}" was not started in time`, { details }) };
  return undefined;
}

/** The error and reason inside what is kept of a failure. */
export function parseFailure(text: string): { error: TaskErrorInfo; reason: string } {
  const { reason, ...error } = JSON.parse(text) as TaskErrorInfo & { reason?: string };
  return { error, reason: reason ?? 'ATTEMPTS_EXHAUSTED' };
}

/** Reads JSON; the empty text is `undefined`. */
export function parse(text: string | undefined): unknown {
  return text === undefined || text === '' ? undefined : JSON.parse(text);
}

function strip({ reason: _reason, ...error }: TaskErrorInfo & { reason?: string }): TaskErrorInfo {
  return error;
}

function date(time: number | undefined): Date | undefined {
  return time === undefined ? undefined : new Date(time);
}
