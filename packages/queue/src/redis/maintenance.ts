import type { StalledTask } from '../backend.ts';
import { linksOf } from '../envelope.ts';
import { childFailure } from '../flows.ts';
import type { ResolvedQueueOptions } from '../options.ts';
import { chunks } from './enqueue-buffer.ts';
import type { Keys } from './keys.ts';
import type { RedisLink } from './link.ts';
import type { Located } from './places.ts';
import { scripts } from './scripts.ts';

/** What maintenance needs. */
export interface MaintenanceOptions {
  readonly keys: Keys;
  readonly options: ResolvedQueueOptions;
  readonly ask: <T>(attempt: (link: RedisLink) => Promise<T>) => Promise<T>;
  readonly locate: (ids: readonly string[]) => Promise<Located[]>;
  /** The server said that it is so late. */
  readonly heard: (time: number) => void;
}

const STEP = 500;
const STEPS_AT_ONCE = 4_000;
const FULL_SCAN_EVERY = 12;
// What tasks leave behind beside their records is little, and is looked through less often.
const SWEEP_EVERY = 5;

interface Told {
  readonly parent: string;
  readonly result?: string;
  readonly fatal?: boolean;
}

/** What every process does now and then for all: recovers lost claims, drops old records, tells parents of flows. */
export class Maintenance {
  readonly #options: MaintenanceOptions;
  readonly #cursors = new Map<string, string[]>();
  #rounds = 0;
  #tidied = 0;

  constructor(options: MaintenanceOptions) {
    this.#options = options;
  }

  /** Puts back what workers without a lease hold. */
  async recover(): Promise<readonly StalledTask[]> {
    this.#rounds += 1;
    const stalled: StalledTask[] = [];
    // A claim of a worker that never had a lease is looked for less often; there should be none.
    const all = this.#rounds % FULL_SCAN_EVERY === 1;
    for (const [partition, { leases }] of this.#options.keys.partitions.entries()) {
      const [dead, alive, now] = (await this.#options.ask((link) =>
        link.run(scripts.expired, [leases], [all ? '1' : '']),
      )) as [string[], string[], number];
      this.#options.heard(now);
      if (dead.length === 0 && !all) continue;
      stalled.push(...(await this.#recoverPartition(partition, dead, new Set(alive))));
    }
    return stalled;
  }

  /** Drops what retention lets go, and what its tasks left behind. */
  async tidy(): Promise<void> {
    for (const [partition, { queues }] of this.#options.keys.partitions.entries()) {
      const names = (await this.#options.ask((link) => link.call('SMEMBERS', queues))) as string[];
      for (const queue of names) {
        await this.#drop(partition, queue, names);
        if (this.#tidied % SWEEP_EVERY === 0) await this.#sweep(partition, queue);
      }
      await this.relay(partition);
    }
    this.#tidied += 1;
  }

  /** Tells parents what their children left for them. What another process told meanwhile counts once. */
  async relay(partition: number): Promise<void> {
    const { outbox } = this.#options.keys.partition(partition);
    const next = new Set<number>();
    let cursor = '0';
    do {
      const scan = (await this.#options.ask((link) => link.call('HSCAN', outbox, cursor, 'COUNT', 100))) as [
        string,
        string[],
      ];
      cursor = scan[0];
      const [, fields] = scan;
      for (let at = 0; at < fields.length; at += 2) {
        const child = fields[at] ?? '';
        const told = await this.#tell(child, JSON.parse(fields[at + 1] ?? '{}') as Told);
        await this.#options.ask((link) => link.call('HDEL', outbox, child));
        if (told !== undefined) next.add(told);
      }
    } while (cursor !== '0');
    for (const above of next) await this.relay(above);
  }

  /** Where the parent left something for its own parent, if this was its end. */
  async #tell(child: string, { parent, result, fatal }: Told): Promise<number | undefined> {
    const [home] = await this.#options.locate([parent]);
    if (home === undefined) return undefined;
    const { keys, ask } = this.#options;
    const links = linksOf(home.envelope);
    const linked =
      links === undefined
        ? ''
        : JSON.stringify({ i: parent, u: links.unique, g: links.group, p: links.parent });
    const error = fatal === true ? childFailure(child) : '';
    const { queue } = home.envelope;
    const args = [
      parent,
      child,
      result ?? '',
      error,
      linked,
      keys.partition(home.partition).finishedChannel,
      queue,
    ];
    const awaited = await ask((link) => link.run(scripts.child, keys.queue(home.partition, queue).all, args));
    return awaited === 1 && fatal === true && links?.parent !== undefined ? home.partition : undefined;
  }

  async #recoverPartition(
    partition: number,
    dead: readonly string[],
    alive: ReadonlySet<string>,
  ): Promise<StalledTask[]> {
    const { keys, ask } = this.#options;
    const { queues, leases, workers, config, finishedChannel } = keys.partition(partition);
    const names = (await ask((link) => link.call('SMEMBERS', queues))) as string[];
    const stalled: StalledTask[] = [];
    for (const queue of names) {
      for (const ids of chunks(await this.#claimsOfOthers(partition, queue, alive), 200)) {
        if (ids.length === 0) continue;
        const back = (await ask((link) =>
          link.run(scripts.recover, keys.queue(partition, queue).all, [finishedChannel, ...ids]),
        )) as string[];
        stalled.push(...back.map((id) => ({ id, queue })));
      }
    }
    for (const lost of chunks(dead, 100)) {
      if (lost.length === 0) continue;
      await ask((link) =>
        link.run(scripts.forget, [leases, workers, config], [lost.length, ...lost, ...names]),
      );
    }
    return stalled;
  }

  async #claimsOfOthers(partition: number, queue: string, alive: ReadonlySet<string>): Promise<string[]> {
    const { claims } = this.#options.keys.queue(partition, queue);
    const ids: string[] = [];
    let cursor = '0';
    do {
      const scan = (await this.#options.ask((link) => link.call('HSCAN', claims, cursor, 'COUNT', 500))) as [
        string,
        string[],
      ];
      cursor = scan[0];
      const [, fields] = scan;
      for (let at = 0; at < fields.length; at += 2) {
        const worker = (fields[at + 1] ?? '').split('|', 2)[1] ?? '';
        if (!alive.has(worker)) ids.push(fields[at] ?? '');
      }
    } while (cursor !== '0');
    return ids;
  }

  async #drop(partition: number, queue: string, names: readonly string[]): Promise<void> {
    const { keys, options, ask } = this.#options;
    const { finished, dead, deadAgeMs } = options.retention;
    const others = names.filter((name) => name !== queue).map((name) => keys.queue(partition, name).dead);
    for (let step = 0; step < STEPS_AT_ONCE; step += 1) {
      const counts = await Promise.all(others.map((key) => ask((link) => link.call('ZCARD', key))));
      const elsewhere = counts.reduce<number>((sum, count) => sum + Number(count), 0);
      const args = ['old', finished, deadAgeMs, STEP, dead, elsewhere];
      const dropped = Number(
        await ask((link) => link.run(scripts.drop, keys.queue(partition, queue).all, args)),
      );
      if (dropped < STEP) return;
    }
  }

  async #sweep(partition: number, queue: string): Promise<void> {
    const id = `${partition}\n${queue}`;
    const cursors = this.#cursors.get(id) ?? ['0', '0', '0', '0'];
    const { keys, ask } = this.#options;
    this.#cursors.set(
      id,
      (await ask((link) => link.run(scripts.tidy, keys.queue(partition, queue).all, cursors))) as string[],
    );
  }
}
