import type { QueueCounts, QueueLimits } from '../backend.ts';
import type { Keys, QueueKeys } from './keys.ts';

type Call = (command: string, ...args: (string | number)[]) => Promise<unknown>;

/** The fields of the configuration that belong to a queue. */
export function limitFields(queue: string, limits: QueueLimits): { set: string[]; remove: string[] } {
  const { concurrency, rate } = limits;
  const set: string[] = [];
  const remove: string[] = [];
  if (concurrency === undefined) remove.push(`c:${queue}`);
  else set.push(`c:${queue}`, String(concurrency));
  if (rate === undefined) remove.push(`r:${queue}`, `t:${queue}`);
  else set.push(`r:${queue}`, `${rate.limit}|${rate.per}`);
  return { set, remove };
}

/** Counts one queue in one partition. All commands leave together, in one round trip. */
export async function countQueue(
  call: Call,
  keys: Keys,
  partition: number,
  queue: string,
): Promise<QueueCounts> {
  const own = keys.queue(partition, queue);
  const shared = keys.partition(partition);
  const [time, w0, w1, w2, delayed, active, dead, held, unborn, stats, config, workers, leases] =
    await Promise.all([
      call('TIME'),
      ...own.ready.map((list) => call('LLEN', list)),
      call('ZCARD', own.delayed),
      call('HLEN', own.claims),
      call('ZCARD', own.dead),
      call('ZCARD', own.held),
      call('HLEN', own.unborn),
      call('HMGET', shared.stats, `e:${queue}`, `x:${queue}`, `h:${queue}`),
      call('HMGET', shared.config, 'p*', `p:${queue}`, `d:${queue}`),
      call('HGETALL', shared.workers),
      call('ZRANGE', shared.leases, 0, -1, 'WITHSCORES'),
    ]);
  const [allPaused, paused, completed] = config as (string | null)[];
  const oldest = await oldestOf(call, own, shared.tasks);
  const [seconds, micros] = time as [string, string];
  const now = Number(seconds) * 1_000 + Math.floor(Number(micros) / 1_000);
  const [enqueued, failed, waitingParents] = (stats as (string | null)[]).map(Number);
  const serving = servingWorkers(queue, pairs(workers), pairs(leases), now);
  return {
    queue,
    waiting: [Number(w0), Number(w1), Number(w2)],
    grouped: Number(held) + Number(unborn) + (waitingParents ?? 0),
    delayed: Number(delayed),
    active: Number(active),
    dead: Number(dead),
    completed: Number(completed ?? 0),
    failedAttempts: failed ?? 0,
    enqueued: enqueued ?? 0,
    oldestWaitingAt: oldest,
    paused: allPaused !== null || paused !== null,
    workers: serving.length,
    slots: serving.reduce((sum, slots) => sum + slots, 0),
    now,
  };
}

async function oldestOf(call: Call, own: QueueKeys, tasks: string): Promise<number | undefined> {
  const heads = await Promise.all(own.ready.map((list) => call('LINDEX', list, -1)));
  const ids = heads.filter((id) => typeof id === 'string');
  if (ids.length === 0) return undefined;
  const blobs = (await call('HMGET', tasks, ...ids)) as (string | null)[];
  const times = blobs.flatMap((blob) => (blob === null ? [] : [Number((JSON.parse(blob) as unknown[])[2])]));
  return times.length === 0 ? undefined : Math.min(...times);
}

/** The slots of each living worker that serves the queue. */
function servingWorkers(
  queue: string,
  workers: ReadonlyMap<string, string>,
  leases: ReadonlyMap<string, string>,
  now: number,
): number[] {
  const slots: number[] = [];
  for (const [worker, info] of workers) {
    if (Number(leases.get(worker) ?? 0) <= now) continue;
    const parsed = JSON.parse(info) as { slots: number; queues: readonly string[] };
    if (parsed.queues.includes(queue)) slots.push(parsed.slots);
  }
  return slots;
}

// A map reply comes as pairs, or, with RESP3, as an object.
function pairs(reply: unknown): Map<string, string> {
  if (!Array.isArray(reply)) return new Map(Object.entries(reply as Record<string, string>));
  const flat = reply.flat() as string[];
  const map = new Map<string, string>();
  for (let at = 0; at + 1 < flat.length; at += 2) map.set(flat[at] ?? '', String(flat[at + 1]));
  return map;
}
