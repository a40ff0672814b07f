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
      | 'turn'
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
      | 'tidy'
  ]: RedisScript;
} = {
  add: script(embedded.addScript),
  turn: script(embedded.turnScript),
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
  tidy: script(embedded.tidyScript),
};

/** Sends a batch of tasks of one queue. */
export function addTasks(
  link: RedisLink,
  keys: QueueKeys,
  queue: string,
  tasks: readonly NewTask[],
): Promise<unknown> {
  const args: RedisArgument[] = [queue, tasks.length, ''];
  let special: Record<string, object> | undefined;
  for (const task of tasks) {
    args.push(task.id, task.priority, when(task), task.blob);
    if (task.unique !== undefined || task.group !== undefined || task.children !== undefined) {
      special ??= {};
      special[task.id] = { u: task.unique, g: task.group, c: task.children };
    }
  }
  if (special === undefined) return link.run(scripts.add, keys.base, args);
  args[2] = JSON.stringify(special);
  return link.run(scripts.add, keys.all, args);
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
  const completions: RedisArgument[] = [];
  const others: RedisArgument[] = [];
  let links: Record<string, object> | undefined;
  for (const settlement of settlements) {
    pushSettlement(settlement, completions, others);
    if (settlement.links === undefined) continue;
    links ??= {};
    const { unique, group, parent } = settlement.links;
    links[settlement.id] = { i: settlement.id, u: unique, g: group, p: parent };
  }
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
    completions.length / 4,
    others.length / 7,
    links === undefined ? '' : JSON.stringify(links),
  ];
  for (const [list, count] of quotas) args.push(list, count);
  const full = frame.full || links !== undefined;
  return link.run(scripts.turn, full ? keys.all : keys.base, args.concat(completions, others));
}

function pushSettlement(
  { id, token, priority, outcome }: Settlement,
  completions: RedisArgument[],
  others: RedisArgument[],
): void {
  const claim = `${token}|`;
  if (outcome.kind === 'completed') {
    completions.push(id, claim, outcome.keepMs, outcome.result);
    return;
  }
  const kind = KINDS[outcome.kind];
  if (outcome.kind === 'return') others.push(id, claim, kind, priority, 0, 0, '');
  else {
    const ms = outcome.kind === 'retry' ? outcome.delayMs : outcome.keepMs;
    others.push(id, claim, kind, priority, ms, outcome.counted ? 1 : 0, outcome.error);
  }
}

function when(task: NewTask): RedisArgument {
  if (task.runAt !== undefined) return `@${task.runAt}`;
  return task.delayMs;
}
