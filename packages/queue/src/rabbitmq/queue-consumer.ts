import type { Background, Clock } from '@xiaoke/core';
import type { PriorityIndex, TurnRequest } from '../backend.ts';
import type { Offer } from './ledger-commands.ts';
import type { Link } from './link.ts';
import { ListConsumer, type Delivery } from './list-consumer.ts';
import type { Names } from './names.ts';
import type { Topology } from './topology.ts';

/** What the consumer of a queue needs. */
export interface QueueConsumerOptions {
  readonly queue: string;
  readonly slots: number;
  readonly weights: readonly [number, number, number] | 'strict';
  readonly prefetchFactor: number;
  readonly link: Link;
  readonly names: Names;
  readonly topology: Topology;
  readonly clock: Clock;
  readonly background: Background;
  readonly timeoutMs: number;
  readonly arrived: () => void;
  readonly troubled: (error: unknown) => void;
}

const PRIORITIES: readonly PriorityIndex[] = [0, 1, 2];
const MAX_PREFETCH = 5_000;
const MAX_WAITS = 1_000;

/** The three lists of a queue as one worker pool consumes them. */
export class QueueConsumer {
  readonly #options: QueueConsumerOptions;
  readonly #lists: readonly ListConsumer[];
  #arrival: (() => void) | undefined;
  /** The ledger refused what is here; only time or its word changes that. */
  blocked = false;

  constructor(options: QueueConsumerOptions) {
    this.#options = options;
    const {
      queue,
      slots,
      weights,
      prefetchFactor,
      link,
      names,
      topology,
      clock,
      background,
      timeoutMs,
      troubled,
    } = options;
    this.#lists = PRIORITIES.map(
      (priority) =>
        new ListConsumer({
          link,
          name: names.list(queue, priority),
          priority,
          prefetch: prefetchOf(slots, weights, prefetchFactor)[priority],
          clock,
          background,
          timeoutMs,
          troubled,
          ensure: () => topology.ensureQueue(queue),
          deleted: () => topology.forget(queue),
          arrived: () => this.#arrived(),
        }),
    );
  }

  /** Milliseconds until a delivery is due that is here a moment early. */
  nextMs(): number | undefined {
    const now = this.#options.clock.now();
    const due = this.#lists.flatMap((list) => list.nextDueAt ?? []);
    return due.length === 0 ? undefined : Math.max(1, Math.min(...due) - now);
  }

  /** Whether there is something to offer. */
  ready(fits: (offer: Offer) => boolean): boolean {
    return !this.blocked && this.#lists.some((list) => list.has(fits));
  }

  /**
   * Takes up to `want` deliveries by the quotas, then what is left over in order of priority. A list that has a quota and
   * may be about to deliver is waited for, a few milliseconds at most: else which list is served would be a matter of luck.
   */
  async take(
    want: number,
    quotas: TurnRequest['quotas'],
    fits: (offer: Offer) => boolean,
  ): Promise<Delivery[]> {
    // However often a list says that there is more, other queues want these slots too.
    for (let waits = 0; waits < MAX_WAITS && this.#worthWaiting(quotas); waits += 1)
      await this.#nextArrival();
    const taken: Delivery[] = [];
    const ids = new Set<string>();
    const fresh = (offer: Offer): boolean => !ids.has(offer.id) && fits(offer);
    const pull = (priority: PriorityIndex, count: number): void => {
      for (let left = count; left > 0; left -= 1) {
        const delivery = this.#lists[priority]?.take(fresh);
        if (delivery === undefined) return;
        ids.add(delivery.offer.id);
        taken.push(delivery);
      }
    };
    for (const [priority, count] of quotas) pull(priority, Math.min(count, want - taken.length));
    for (const priority of PRIORITIES) pull(priority, want - taken.length);
    return taken;
  }

  set paused(paused: boolean) {
    for (const list of this.#lists) list.paused = paused;
  }

  /** The pool has another number of slots. */
  resize(slots: number): void {
    const { weights, prefetchFactor } = this.#options;
    const prefetch = prefetchOf(slots, weights, prefetchFactor);
    for (const list of this.#lists) list.prefetch = prefetch[list.priority];
  }

  putBack(deliveries: readonly Delivery[]): void {
    for (const list of this.#lists) list.putBack(deliveries.filter((delivery) => delivery.list === list));
  }

  flush(): void {
    for (const list of this.#lists) list.flush();
  }

  async close(timeoutMs: number): Promise<void> {
    this.#arrived();
    await Promise.all(this.#lists.map((list) => list.close(timeoutMs)));
  }

  #worthWaiting(quotas: TurnRequest['quotas']): boolean {
    if (quotas.length === 0) return this.#lists.some((list) => list.size === 0 && list.mayHaveMore);
    return quotas.some(([priority, count]) => {
      const list = this.#lists[priority];
      return list !== undefined && list.size < Math.min(count, 8) && list.mayHaveMore;
    });
  }

  /** Looks again at every millisecond too: that a list stays empty is no event. */
  #nextArrival(): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.#options.clock.setTimeout(() => finish(), 1);
      const finish = (): void => {
        timer.cancel();
        this.#arrival = undefined;
        resolve();
      };
      this.#arrival = finish;
    });
  }

  #arrived(): void {
    this.#arrival?.();
    this.#options.arrived();
  }
}

/**
 * How many messages of each list lie here unacknowledged: enough for every slot, because all work may be of one priority,
 * and beyond that a supply in proportion to the weights.
 */
export function prefetchOf(
  slots: number,
  weights: readonly [number, number, number] | 'strict',
  factor: number,
): readonly [number, number, number] {
  const shares = weights === 'strict' ? ([1, 1, 1] as const) : weights;
  const sum = shares[0] + shares[1] + shares[2];
  const of = (share: number): number =>
    Math.min(MAX_PREFETCH, slots + Math.ceil((slots * factor * share) / sum));
  return [of(shares[0]), of(shares[1]), of(shares[2])];
}
