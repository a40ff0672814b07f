import { InvalidOptionError } from '@xiaoke/core';
import type { GroupRule, NewTask, UniqueRule } from '../backend.ts';
import { decodeEnvelope, type Envelope } from '../envelope.ts';
import { hash, type Keys } from './keys.ts';
import type { RedisLink } from './link.ts';

/** Runs something on the shared connection, repeated through outages. */
export type Ask = <T>(attempt: (link: RedisLink) => Promise<T>) => Promise<T>;

/** A task with the place where it lives. */
export interface Located {
  readonly id: string;
  readonly partition: number;
  readonly envelope: Envelope;
}

/** Tasks of one queue in one partition. */
export interface Home {
  readonly partition: number;
  readonly queue: string;
  readonly entries: Located[];
}

/** Knows in which partition a task lives, and finds its queue. */
export class Places {
  readonly #keys: Keys;
  readonly #ask: Ask;

  constructor(keys: Keys, ask: Ask) {
    this.#keys = keys;
    this.#ask = ask;
  }

  /** Completes a fresh id. */
  newId(
    id: string,
    task: { readonly unique: UniqueRule | undefined; readonly group: GroupRule | undefined },
  ): string {
    const { length } = this.#keys.partitions;
    return length === 1 ? id : `${this.homeOf(task) ?? hash(id) % length}~${id}`;
  }

  /** Where a task lives: its id says so. A key that must be unique, or a group, has to live there too. */
  partitionFor(task: NewTask): number {
    if (this.#keys.partitions.length === 1) return 0;
    const partition = this.partitionOf(task.id);
    const home = this.homeOf(task);
    if (home !== undefined && home !== partition) {
      throw new InvalidOptionError(
        'id',
        'cannot be chosen freely together with unique or group in several partitions',
        {
          details: { prefix: `${home}~` },
        },
      );
    }
    return partition;
  }

  homeOf(task: {
    readonly unique?: UniqueRule | undefined;
    readonly group?: GroupRule | undefined;
  }): number | undefined {
    const key = task.group?.key ?? task.unique?.key;
    return key === undefined ? undefined : hash(key) % this.#keys.partitions.length;
  }

  partitionOf(id: string): number {
    if (this.#keys.partitions.length === 1) return 0;
    const named = /^(\d{1,3})~/.exec(id);
    const partition = named === null ? -1 : Number(named[1]);
    return partition >= 0 && partition < this.#keys.partitions.length
      ? partition
      : hash(id) % this.#keys.partitions.length;
  }

  /** Reads which queue each task is in, and does something per queue. Unknown ids are left out. */
  async perHome(ids: readonly string[], act: (home: Home) => Promise<number>): Promise<number> {
    const homes = new Map<string, Home>();
    for (const located of await this.locate(ids)) {
      const { queue } = located.envelope;
      const key = `${located.partition}\n${queue}`;
      const home = homes.get(key) ?? { partition: located.partition, queue, entries: [] };
      home.entries.push(located);
      homes.set(key, home);
    }
    let sum = 0;
    for (const home of homes.values()) sum += await act(home);
    return sum;
  }

  /** Reads the tasks' texts. Unknown ids are left out. */
  async locate(ids: readonly string[]): Promise<Located[]> {
    const byPartition = new Map<number, string[]>();
    for (const id of new Set(ids)) {
      const partition = this.partitionOf(id);
      byPartition.set(partition, [...(byPartition.get(partition) ?? []), id]);
    }
    const found = await Promise.all(
      [...byPartition].map(async ([partition, own]) => {
        const { tasks } = this.#keys.partition(partition);
        const blobs = (await this.#ask((link) => link.call('HMGET', tasks, ...own))) as (string | null)[];
        return own.flatMap((id, index) => {
          const blob = blobs[index];
          return blob === null || blob === undefined
            ? []
            : [{ id, partition, envelope: decodeEnvelope(blob) }];
        });
      }),
    );
    return found.flat();
  }
}
