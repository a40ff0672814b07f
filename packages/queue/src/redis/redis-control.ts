import type { QueueLimits } from '../backend.ts';
import { linksOf } from '../envelope.ts';
import { QueueError } from '../errors.ts';
import { chunks } from './enqueue-buffer.ts';
import type { Keys } from './keys.ts';
import type { RedisLink } from './link.ts';
import { limitFields } from './redis-admin.ts';
import type { Ask, Located, Places } from './places.ts';
import { scripts } from './scripts.ts';

const KEEP_CANCELLED = 3_600_000;
const DRAIN_STEP = 200;
const DRAIN_ROUNDS = 1_000;

type CancelOutcome = 'cancelled' | 'requested' | 'none';

/** What control needs. */
export interface ControlOptions {
  readonly keys: Keys;
  readonly places: Places;
  readonly ask: Ask;
  readonly relay: (partition: number) => Promise<void>;
  readonly queues: () => Promise<readonly string[]>;
}

/** What people do to queues: cancel, pause, limit, drain, and look after dead letters. */
export class RedisControl {
  readonly #keys: Keys;
  readonly #places: Places;
  readonly #ask: Ask;
  readonly #options: ControlOptions;

  constructor(options: ControlOptions) {
    this.#options = options;
    this.#keys = options.keys;
    this.#places = options.places;
    this.#ask = options.ask;
  }

  async cancel(id: string, reason: string): Promise<CancelOutcome> {
    const [outcome] = await this.#cancel([id], reason);
    return outcome ?? 'none';
  }

  async deadLetters(
    queue: string,
    limit: number,
    cursor: string | undefined,
  ): Promise<{ ids: readonly string[]; cursor: string | undefined }> {
    const [from = 0, skip = 0] = cursor === undefined ? [] : cursor.split(':').map(Number);
    const ids: string[] = [];
    for (let partition = from; partition < this.#keys.partitions.length; partition += 1) {
      const start = partition === from ? skip : 0;
      const { dead } = this.#keys.queue(partition, queue);
      const left = limit - ids.length;
      const page = (await this.#ask((link) => link.call('ZRANGE', dead, start, start + left))) as string[];
      ids.push(...page.slice(0, left));
      if (page.length > left) return { ids, cursor: `${partition}:${start + left}` };
    }
    return { ids, cursor: undefined };
  }

  async retryDead(ids: readonly string[]): Promise<number> {
    return await this.#places.perHome(ids, async ({ partition, queue, entries }) => {
      const args = entries.flatMap(({ id, envelope }) => [
        id,
        envelope.priority,
        envelope.group === undefined ? '' : JSON.stringify(envelope.group),
        envelope.unique?.key ?? '',
      ]);
      const { all } = this.#keys.queue(partition, queue);
      return Number(await this.#ask((link) => link.run(scripts.revive, all, [queue, ...args])));
    });
  }

  async purgeDead(ids: readonly string[]): Promise<number> {
    return await this.#places.perHome(ids, async ({ partition, queue, entries }) => {
      const args = ['dead', 0, 0, ...entries.map(({ id }) => id)];
      return Number(
        await this.#ask((link) => link.run(scripts.drop, this.#keys.queue(partition, queue).all, args)),
      );
    });
  }

  async setPaused(queue: string | undefined, paused: boolean): Promise<void> {
    const queues = await this.#options.queues();
    for (const [index, { config }] of this.#keys.partitions.entries()) {
      const fields = queue === undefined ? ['p*', ...queues.map((name) => `p:${name}`)] : [`p:${queue}`];
      await this.#ask(async (link) => {
        if (paused) await link.call('HSET', config, queue === undefined ? 'p*' : `p:${queue}`, '1');
        else await link.call('HDEL', config, ...fields);
        const woken = paused ? [] : queue === undefined ? queues : [queue];
        await Promise.all(
          woken.map((name) => link.call('ZADD', this.#keys.queue(index, name).marker, '0', '0')),
        );
      });
    }
  }

  async setLimits(queue: string, limits: QueueLimits): Promise<void> {
    if (this.#keys.partitions.length > 1 && (limits.concurrency !== undefined || limits.rate !== undefined))
      throw new QueueError('UNSUPPORTED', 'Limits of a queue need a namespace with one partition');
    const { set, remove } = limitFields(queue, limits);
    for (const [index, { config }] of this.#keys.partitions.entries()) {
      await this.#ask(async (link) => {
        if (set.length > 0) await link.call('HSET', config, ...set);
        if (remove.length > 0) await link.call('HDEL', config, ...remove);
        await link.call('ZADD', this.#keys.queue(index, queue).marker, '0', '0');
      });
    }
  }

  async drain(queue: string, delayed: boolean): Promise<number> {
    let drained = await this.#drainFamilies(queue);
    for (let partition = 0; partition < this.#keys.partitions.length; partition += 1) {
      // A group lets the next task in when one of its own is cancelled, so what was empty may be full again.
      for (let round = 0; round < DRAIN_ROUNDS; round += 1) {
        const done = await this.#drainRound(partition, queue, delayed);
        drained += done;
        if (done === 0) break;
      }
    }
    return drained;
  }

  async #drainRound(partition: number, queue: string, delayed: boolean): Promise<number> {
    const own = this.#keys.queue(partition, queue);
    const lists: ((link: RedisLink) => Promise<string[]>)[] = own.ready.map(
      (list) => (link) => link.call('LRANGE', list, -DRAIN_STEP, -1) as Promise<string[]>,
    );
    lists.unshift(async (link) => {
      const held = (await link.call('ZRANGE', own.held, 0, DRAIN_STEP - 1)) as string[];
      return held.map((member) => member.split('\n').at(-1) ?? '');
    });
    if (delayed) {
      lists.push(async (link) => {
        const members = (await link.call('ZRANGE', own.delayed, 0, DRAIN_STEP - 1)) as string[];
        return members.map((member) => member.slice(2));
      });
    }
    let drained = 0;
    for (const list of lists) drained += await this.#drainList(list);
    const { unborn } = this.#keys.queue(partition, queue);
    const waiting = (await this.#ask((link) => link.call('HKEYS', unborn))) as string[];
    for (const ids of chunks(waiting, DRAIN_STEP)) if (ids.length > 0) drained += await this.#drainAll(ids);
    return drained;
  }

  async #cancel(ids: readonly string[], reason: string): Promise<CancelOutcome[]> {
    const why = JSON.stringify({ name: 'QueueError', code: 'TASK_CANCELLED', message: reason, reason });
    const outcomes = new Map<string, CancelOutcome>();
    await this.#places.perHome(ids, async ({ partition, queue, entries }) => {
      const shared = this.#keys.partition(partition);
      const links = linksById(entries);
      const args = [
        why,
        KEEP_CANCELLED,
        shared.finishedChannel,
        shared.cancelChannel,
        links,
        queue,
        ...entries.map(({ id }) => id),
      ];
      const reply = (await this.#ask((link) =>
        link.run(scripts.cancel, this.#keys.queue(partition, queue).all, args),
      )) as CancelOutcome[];
      entries.forEach(({ id }, index) => outcomes.set(id, reply[index] ?? 'none'));
      if (entries.some(({ envelope }) => envelope.parent !== undefined)) await this.#options.relay(partition);
      return 0;
    });
    return ids.map((id) => outcomes.get(id) ?? 'none');
  }

  /** Cancels what waits for its children, before these: a child that is cancelled first would make its parent a dead letter. */
  async #drainFamilies(queue: string): Promise<number> {
    const waiting = new Map<string, Located>();
    for (const { families, open } of this.#keys.partitions) {
      const parents = (await this.#ask((link) => link.call('HKEYS', families))) as string[];
      for (const ids of chunks(parents))
        for (const task of await this.#living(ids, open)) waiting.set(task.id, task);
    }
    for (const [id, { envelope }] of waiting) if (envelope.queue !== queue) waiting.delete(id);
    let drained = 0;
    for (const generation of generations(waiting))
      for (const ids of chunks(generation, DRAIN_STEP)) drained += await this.#drainAll(ids);
    return drained;
  }

  /** Those that still wait for children. */
  async #living(ids: readonly string[], open: string): Promise<readonly Located[]> {
    if (ids.length === 0) return [];
    const counts = (await this.#ask((link) => link.call('HMGET', open, ...ids))) as (string | null)[];
    return await this.#places.locate(ids.filter((_, index) => Number(counts[index] ?? 0) > 0));
  }

  async #drainAll(ids: readonly string[]): Promise<number> {
    const outcomes = await this.#cancel(ids, 'drained');
    return outcomes.filter((outcome) => outcome === 'cancelled').length;
  }

  async #drainList(list: (link: RedisLink) => Promise<string[]>): Promise<number> {
    let drained = 0;
    for (;;) {
      const ids = await this.#ask(list);
      if (ids.length === 0) return drained;
      const done = await this.#drainAll(ids);
      drained += done;
      // Nothing but tasks that others took in between: they are no business of ours.
      if (done === 0) return drained;
    }
  }
}

/** Parents before those whose parents they are. */
function generations(tasks: ReadonlyMap<string, Located>): string[][] {
  const byDepth: string[][] = [];
  for (const { id, envelope } of tasks.values()) {
    let depth = 0;
    for (let above = envelope.parent; above !== undefined; above = tasks.get(above.id)?.envelope.parent)
      depth += 1;
    (byDepth[depth] ??= []).push(id);
  }
  return byDepth.filter((ids) => ids !== undefined);
}

function linksById(entries: readonly Located[]): string {
  const links: Record<string, object> = {};
  for (const { id, envelope } of entries) {
    const own = linksOf(envelope);
    if (own !== undefined) links[id] = { i: id, u: own.unique, g: own.group, p: own.parent };
  }
  return Object.keys(links).length === 0 ? '' : JSON.stringify(links);
}
