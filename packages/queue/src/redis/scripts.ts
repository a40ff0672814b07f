import { RedisScript, type RedisArgument } from '@xiaoke/core/redis';
import type { NewTask, Settlement, TurnRequest } from '../backend.ts';
import type { QueueKeys } from './keys.ts';
import type { RedisLink } from './link.ts';
import * as embedded from './scripts.generated.ts';

const script = ({ source }: { readonly source: string }): RedisScript => new RedisScript(source);

/** Every script of the backend, by what it does. */
export const scripts: {
  readonly [
    K in
      | 'add'
      | 'addPlain'
      | 'turn'
      | 'turnPlain'
      | 'beat'
      | 'expired'
      | 'recover'
      | 'read'
      | 'cancel'
      | 'revive'
      | 'drop'
      | 'note'
      | 'child'
      | 'fire'
      | 'leave'
      | 'put'
      | 'forget'
      | 'tidy'
  ]: RedisScript;
} = {
  add: script(embedded.addScript),
  addPlain: script(embedded.addPlainScript),
  turn: script(embedded.turnScript),
  turnPlain: script(embedded.turnPlainScript),
  beat: script(embedded.beatScript),
  expired: script(embedded.expiredScript),
  recover: script(embedded.recoverScript),
  read: script(embedded.readScript),
  cancel: script(embedded.cancelScript),
  revive: script(embedded.reviveScript),
  drop: script(embedded.dropScript),
  note: script(embedded.noteScript),
  child: script(embedded.childScript),
  fire: script(embedded.fireScript),
  leave: script(embedded.leaveScript),
  put: script(embedded.putScript),
  forget: script(embedded.forgetScript),
  tidy: script(embedded.tidyScript),
};

/** Sends a batch of tasks of one queue. Resolves to the id that stands for each, '' for one that is new, or to none when all are. */
export async function addTasks(
  link: RedisLink,
  keys: QueueKeys,
  queue: string,
  tasks: readonly NewTask[],
): Promise<readonly string[]> {
  if (arePlain(tasks)) {
    const args: RedisArgument[] = [queue, tasks[0]?.priority ?? 1];
    for (const { id, blob } of tasks) args.push(id, blob);
    return (await link.run(scripts.addPlain, keys.base, args)) as string[];
  }
  const args: RedisArgument[] = [queue, tasks.length, ''];
  let special: Record<string, object> | undefined;
  for (const task of tasks) {
    args.push(`${task.priority}${when(task)}:${task.id}`, task.blob);
    if (task.unique !== undefined || task.group !== undefined || task.children !== undefined) {
      special ??= {};
      special[task.id] = { u: task.unique, g: task.group, c: task.children };
    }
  }
  if (special !== undefined) args[2] = JSON.stringify(special);
  return (await link.run(scripts.add, special === undefined ? keys.base : keys.all, args)) as string[];
}

/** Whether nothing sets them apart but their ids and texts. */
function arePlain(tasks: readonly NewTask[]): boolean {
  const priority = tasks[0]?.priority;
  return tasks.every(
    (task) =>
      task.priority === priority &&
      task.delayMs === 0 &&
      task.runAt === undefined &&
      task.unique === undefined &&
      task.group === undefined &&
      task.children === undefined,
  );
}

/** What a turn is told beside its request. */
export interface TurnFrame {
  readonly worker: string;
  readonly queue: string;
  readonly turn: number;
  readonly again: boolean;
  readonly leaseMs: number;
  readonly channel: string;
  /** Give the script every key, also when nothing in the request needs them. */
  readonly full: boolean;
}

const KINDS = { retry: 'r', dead: 'd', cancelled: 'x', expired: 'e', return: 'b', completed: 'c' } as const;

/** Sends a turn. */
export function sendTurn(
  link: RedisLink,
  keys: QueueKeys,
  frame: TurnFrame,
  request: TurnRequest,
): Promise<unknown> {
  const { settlements, want, quotas } = request;
  const { completed, others, links, keepMs, resultless } = sort(settlements);
  const repeated = settlements.some((settlement) => settlement.repeated);
  const args: RedisArgument[] = [
    frame.worker,
    frame.queue,
    frame.turn,
    frame.again ? '1' : '',
    frame.leaseMs,
    want,
    frame.channel,
    repeated ? '1' : '',
    quotas.length,
    completed.length,
    others.length / 7,
    links === undefined ? '' : JSON.stringify(links),
    keepMs,
    resultless ? '1' : '',
  ];
  for (const [list, count] of quotas) args.push(list, count);
  for (const { id, token, result } of completed) {
    args.push(`${token}|${id}`);
    if (!resultless) args.push(result);
  }
  for (const argument of others) args.push(argument);
  if (frame.full || links !== undefined) return link.run(scripts.turn, keys.all, args);
  return link.run(scripts.turnPlain, keys.base, args);
}

interface Completed {
  readonly id: string;
  readonly token: number;
  readonly result: string;
}

interface Sorted {
  /** Those that are kept equally long, which are most; each argument less counts. */
  readonly completed: readonly Completed[];
  readonly keepMs: number;
  readonly resultless: boolean;
  readonly others: readonly RedisArgument[];
  readonly links: Readonly<Record<string, object>> | undefined;
}

function sort(settlements: readonly Settlement[]): Sorted {
  const completed: Completed[] = [];
  const others: RedisArgument[] = [];
  let links: Record<string, object> | undefined;
  let keepMs = -1;
  let resultless = true;
  for (const settlement of settlements) {
    const { id, token, outcome } = settlement;
    if (settlement.links !== undefined) {
      links ??= {};
      const { unique, group, parent } = settlement.links;
      links[id] = { i: id, u: unique, g: group, p: parent };
    }
    if (outcome.kind === 'completed' && (keepMs === -1 || outcome.keepMs === keepMs)) {
      keepMs = outcome.keepMs;
      if (outcome.result !== '') resultless = false;
      completed.push({ id, token, result: outcome.result });
    } else pushOther(settlement, others);
  }
  return { completed, keepMs, resultless, others, links };
}

function pushOther({ id, token, priority, outcome }: Settlement, others: RedisArgument[]): void {
  const claim = `${token}|`;
  const kind = KINDS[outcome.kind];
  if (outcome.kind === 'return') others.push(id, claim, kind, priority, 0, 0, '');
  else if (outcome.kind === 'completed')
    others.push(id, claim, kind, priority, outcome.keepMs, 0, outcome.result);
  else {
    const ms = outcome.kind === 'retry' ? outcome.delayMs : outcome.keepMs;
    others.push(id, claim, kind, priority, ms, outcome.counted ? 1 : 0, outcome.error);
  }
}

function when(task: NewTask): string {
  if (task.runAt !== undefined) return `@${task.runAt}`;
  return task.delayMs === 0 ? '' : String(task.delayMs);
}
