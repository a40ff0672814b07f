import { InvalidOptionError } from '@xiaoke/core';
import type { Backend } from './backend.ts';
import type { DeadLetters } from './queue-manager.ts';
import { checkInteger, checkName } from './task-options.ts';
import type { TaskRecord } from './task.ts';

const CHUNK = 200;
const PAGE = 1_000;

type Which = readonly string[] | string | { readonly queue: string };

/** The dead letters of a manager. */
export class BackendDeadLetters implements DeadLetters {
  readonly #backend: Backend;
  readonly #records: (ids: readonly string[]) => Promise<(TaskRecord | undefined)[]>;
  readonly #known: readonly string[];

  constructor(
    backend: Backend,
    records: (ids: readonly string[]) => Promise<(TaskRecord | undefined)[]>,
    known: readonly string[],
  ) {
    this.#backend = backend;
    this.#records = records;
    this.#known = known;
  }

  async list(
    options: { readonly queue?: string; readonly limit?: number; readonly cursor?: string } = {},
  ): Promise<{ readonly items: readonly TaskRecord[]; readonly cursor?: string }> {
    const limit = checkInteger(options.limit ?? 100, 'limit', 1, 1_000);
    if (options.queue !== undefined) {
      const { items, cursor } = await this.#page(checkName(options.queue, 'queue'), limit, options.cursor);
      return cursor === undefined ? { items } : { items, cursor };
    }
    // Over all queues the cursor says which queue it belongs to.
    const queues = await this.#queues();
    const [name, inner] = options.cursor === undefined ? [] : checkCursor(options.cursor);
    const items: TaskRecord[] = [];
    for (
      let index = name === undefined ? 0 : queues.indexOf(name);
      index >= 0 && index < queues.length;
      index += 1
    ) {
      const queue = queues[index] ?? '';
      const page = await this.#page(queue, limit - items.length, queue === name ? inner : undefined);
      items.push(...page.items);
      if (page.cursor !== undefined) return { items, cursor: JSON.stringify([queue, page.cursor]) };
      const following = queues[index + 1];
      if (items.length >= limit && following !== undefined)
        return { items, cursor: JSON.stringify([following]) };
    }
    return { items };
  }

  async count(queue?: string): Promise<number> {
    const queues = queue === undefined ? await this.#queues() : [checkName(queue, 'queue')];
    const counts = await this.#backend.counts(queues);
    return counts.reduce((sum, { dead }) => sum + dead, 0);
  }

  async retry(which: Which): Promise<number> {
    return await this.#each(which, (ids) => this.#backend.retryDead(ids));
  }

  async purge(which: Which): Promise<number> {
    return await this.#each(which, (ids) => this.#backend.purgeDead(ids));
  }

  async #each(which: Which, act: (ids: readonly string[]) => Promise<number>): Promise<number> {
    let done = 0;
    if (typeof which === 'string') return await act([checkName(which, 'ids')]);
    if (Array.isArray(which)) {
      const ids = which.map((id, index) => checkName(id, `ids[${index}]`));
      for (let start = 0; start < ids.length; start += CHUNK)
        done += await act(ids.slice(start, start + CHUNK));
      return done;
    }
    if (typeof which !== 'object' || which === null || !('queue' in which))
      throw new InvalidOptionError('ids', 'must be ids or { queue }');
    const queue = checkName(which.queue, 'queue');
    const ids = await this.#idsOf(queue);
    for (let start = 0; start < ids.length; start += CHUNK)
      done += await act(ids.slice(start, start + CHUNK));
    return done;
  }

  /** All there are now: what dies later is left for the next call, and what cannot come back holds up nobody. */
  async #idsOf(queue: string): Promise<readonly string[]> {
    const ids: string[] = [];
    let cursor: string | undefined;
    do {
      const page = await this.#backend.deadLetters(queue, PAGE, cursor);
      ids.push(...page.ids);
      cursor = page.cursor;
    } while (cursor !== undefined);
    return ids;
  }

  async #page(
    queue: string,
    limit: number,
    cursor: string | undefined,
  ): Promise<{ items: TaskRecord[]; cursor: string | undefined }> {
    if (cursor !== undefined && !/^\d{1,15}(:\d{1,15})?$/.test(cursor)) throw badCursor();
    const { ids, cursor: next } = await this.#backend.deadLetters(queue, limit, cursor);
    const records = await this.#records(ids);
    return { items: records.filter((record) => record !== undefined), cursor: next };
  }

  async #queues(): Promise<readonly string[]> {
    return [...new Set([...this.#known, ...(await this.#backend.queues())])].sort();
  }
}

function checkCursor(cursor: string): readonly [string, string?] {
  let parts: unknown;
  try {
    parts = JSON.parse(cursor);
  } catch {
    throw badCursor();
  }
  const texts = Array.isArray(parts) && parts.length > 0 && parts.every((part) => typeof part === 'string');
  if (!texts) throw badCursor();
  return parts as [string, string?];
}

function badCursor(): InvalidOptionError {
  return new InvalidOptionError('cursor', 'must be one that an earlier page gave');
}
