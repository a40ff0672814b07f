import type { GroupRule, NewTask, PriorityIndex, ParentLink, StoredTask } from '../backend.ts';

/** A task in memory. `state` is what the world sees; a waiting task that is `held` is in no ready list. */
export interface MemoryTask {
  readonly id: string;
  readonly queue: string;
  blob: string;
  priority: PriorityIndex;
  state: StoredTask['state'];
  /** Waiting for its group, its children, or the task whose unique key it wants. */
  held: boolean;
  attempts: number;
  stalls: number;
  token: number;
  /** The session that has it. */
  owner: object | undefined;
  readonly enqueuedAt: number;
  runAt: number | undefined;
  /** The order of its valid entry in the heap of delayed tasks. */
  entry: number;
  startedAt: number | undefined;
  finishedAt: number | undefined;
  result: string | undefined;
  error: string | undefined;
  progress: string | undefined;
  logs: string[] | undefined;
  unique: string | undefined;
  group: GroupRule | undefined;
  /** Whether it counts in its group. */
  admitted: boolean;
  readonly parent: ParentLink | undefined;
  pendingChildren: Set<string> | undefined;
  childResults: Map<string, string> | undefined;
  cancelReason: string | undefined;
}

/** A new task in memory. */
export function memoryTask(task: NewTask, now: number): MemoryTask {
  return {
    id: task.id,
    queue: task.queue,
    blob: task.blob,
    priority: task.priority,
    state: 'waiting',
    held: false,
    attempts: 0,
    stalls: 0,
    token: 0,
    owner: undefined,
    enqueuedAt: now,
    runAt: task.runAt ?? (task.delayMs > 0 ? now + task.delayMs : undefined),
    entry: 0,
    startedAt: undefined,
    finishedAt: undefined,
    result: undefined,
    error: undefined,
    progress: undefined,
    logs: undefined,
    unique: task.unique?.key,
    group: task.group,
    admitted: false,
    parent: task.parent,
    pendingChildren: task.children === undefined ? undefined : new Set(task.children),
    childResults: undefined,
    cancelReason: undefined,
  };
}

/** The task as the status store shows it. */
export function storedTask(task: MemoryTask): StoredTask {
  return {
    id: task.id,
    blob: task.blob,
    state: task.state,
    attempts: task.attempts,
    stalls: task.stalls,
    token: task.token === 0 ? undefined : task.token,
    worker: task.state === 'active' ? 'memory' : undefined,
    runAt: task.runAt,
    startedAt: task.startedAt,
    finishedAt: task.finishedAt,
    result: task.result,
    error: task.error,
    progress: task.progress,
    logs: task.logs ?? [],
    pendingChildren: task.pendingChildren?.size ?? 0,
  };
}
