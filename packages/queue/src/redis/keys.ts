import { keyspace, type Keyspace } from '@xiaoke/core/redis';

/** The keys of one queue in one partition; all share the partition's hash tag. */
export interface QueueKeys {
  /** What every turn needs, in the order of `base.lua`. */
  readonly base: readonly string[];
  /** The same and those of groups, unique keys, flows and notes. */
  readonly all: readonly string[];
  readonly claims: string;
  readonly marker: string;
  readonly ready: readonly [string, string, string];
  readonly delayed: string;
  readonly dead: string;
  readonly held: string;
  readonly unborn: string;
}

/** The keys of one partition that belong to no queue. */
export interface PartitionKeys {
  readonly tasks: string;
  readonly records: string;
  readonly stats: string;
  readonly leases: string;
  readonly config: string;
  readonly workers: string;
  readonly queues: string;
  readonly outbox: string;
  readonly progress: string;
  readonly logs: string;
  readonly children: string;
  /** Of each parent: what it waits for, and how many children are open. */
  readonly families: string;
  readonly open: string;
  readonly schedules: readonly [string, string, string];
  readonly finishedChannel: string;
  readonly cancelChannel: string;
  readonly scheduleChannel: string;
  /** A key of one worker's own, to wake its blocked connection. */
  wake(worker: string): string;
}

/** Names every key of a namespace. */
export class Keys {
  readonly #spaces: readonly Keyspace[];
  readonly #queues = new Map<string, QueueKeys>();
  readonly partitions: readonly PartitionKeys[];

  constructor(namespace: string, partitions: number) {
    // One partition keeps the bare namespace as its tag; several number it.
    const tags = Array.from({ length: partitions }, (_, index) =>
      partitions === 1 ? namespace : `${namespace}:${index}`,
    );
    this.#spaces = tags.map((tag) => keyspace('xq', tag));
    this.partitions = this.#spaces.map(partitionKeys);
  }

  queue(partition: number, queue: string): QueueKeys {
    const id = `${partition}:${queue}`;
    const known = this.#queues.get(id);
    if (known !== undefined) return known;
    const made = queueKeys(this.#space(partition), queue);
    this.#queues.set(id, made);
    return made;
  }

  partition(partition: number): PartitionKeys {
    const keys = this.partitions[partition];
    if (keys === undefined) throw new RangeError(`There is no partition ${partition}`);
    return keys;
  }

  #space(partition: number): Keyspace {
    const space = this.#spaces[partition];
    if (space === undefined) throw new RangeError(`There is no partition ${partition}`);
    return space;
  }
}

function queueKeys(space: Keyspace, queue: string): QueueKeys {
  const own = (suffix: string): string => space(`q:${queue}:${suffix}`);
  const ready = [own('w0'), own('w1'), own('w2')] as const;
  const base = [
    ...['jobs', 'res', 'rx', 'att', 'st', 'wl', 'cfg'].map(space),
    ...ready,
    ...['dly', 'own', 'mk', 'dead'].map(own),
  ];
  const rest = [
    space('uq'),
    ...['un', 'gz', 'ga', 'gt', 'gc', 'gm'].map(own),
    ...['ob', 'note', 'log', 'dep', 'kids', 'kid'].map(space),
  ];
  return {
    base,
    all: [...base, ...rest],
    claims: own('own'),
    marker: own('mk'),
    ready,
    delayed: own('dly'),
    dead: own('dead'),
    held: own('gz'),
    unborn: own('un'),
  };
}

function partitionKeys(space: Keyspace): PartitionKeys {
  return {
    tasks: space('jobs'),
    records: space('res'),
    stats: space('st'),
    leases: space('wl'),
    config: space('cfg'),
    workers: space('wi'),
    queues: space('qs'),
    outbox: space('ob'),
    progress: space('note'),
    logs: space('log'),
    children: space('kid'),
    families: space('kids'),
    open: space('dep'),
    schedules: [space('sch'), space('schn'), space('schl')],
    finishedChannel: space('fin'),
    cancelChannel: space('cx'),
    scheduleChannel: space('schc'),
    wake: (worker) => space(`wk:${worker}`),
  };
}

/** A stable number for a text (FNV-1a). */
export function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let index = 0; index < text.length; index += 1) {
    value ^= text.charCodeAt(index);
    value = Math.imul(value, 0x01000193);
  }
  return value >>> 0;
}
