import { silentLogger, type Logger } from '@xiaoke/core';
import type { ConfigChange } from './change.ts';
import { Snapshot } from './snapshot.ts';

// The configuration of somebody who has been told nothing yet.
const NOTHING = new Snapshot(Object.freeze({}), 0);

/** Is told the value of one path when it differs, with the change that brought it. */
export type PathCallback<V = unknown> = (
  value: V | undefined,
  previous: V | undefined,
  change: ConfigChange,
) => unknown;

/** Is told every change. */
export type ChangeCallback = (change: ConfigChange) => unknown;

interface Subscriber {
  readonly parts: readonly string[] | undefined;
  readonly callback: (...args: never[]) => unknown;
  /** The last configuration it was told; what it is told next is the difference from here. */
  seen: Snapshot;
  running: boolean;
  removed: boolean;
}

/** What the subscriptions need to know. */
export interface SubscriptionOptions {
  readonly logger?: Logger | undefined;
  /** Makes the change between two snapshots that are not neighbours. */
  readonly between: (
    next: Snapshot,
    previous: Snapshot,
    latest: Pick<ConfigChange, 'causes'>,
  ) => ConfigChange;
  readonly onError: (error: unknown) => void;
}

/**
 * Tells subscribers: each one serially, in order, isolated from the others. One that is still busy is not queued for: it
 * is told the newest state when it is done, with everything that changed since it was last told.
 */
export class Subscriptions {
  readonly #subscribers = new Set<Subscriber>();
  readonly #options: SubscriptionOptions;
  #latest:
    | { readonly snapshot: Snapshot; readonly previous: Snapshot; readonly change: ConfigChange }
    | undefined;

  constructor(options: SubscriptionOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#subscribers.size;
  }

  /** Adds a subscriber of one path; with `immediate` it is told the present value first. */
  addPath(
    parts: readonly string[],
    callback: PathCallback<never>,
    current: Snapshot,
    immediate: boolean,
  ): () => void {
    const seen = immediate ? NOTHING : current;
    const subscriber = { parts, callback, seen, running: false, removed: false };
    const remove = this.#add(subscriber);
    if (immediate) {
      const change = this.#options.between(current, NOTHING, { causes: [] });
      this.#latest = {
        snapshot: current,
        previous: this.#latest?.previous ?? NOTHING,
        change: this.#latest?.change ?? change,
      };
      void this.#pump(subscriber);
    }
    return remove;
  }

  addAll(callback: ChangeCallback, current: Snapshot): () => void {
    return this.#add({ parts: undefined, callback, seen: current, running: false, removed: false });
  }

  /** Tells everybody; returns without waiting for them. */
  publish(snapshot: Snapshot, previous: Snapshot, change: ConfigChange): void {
    this.#latest = { snapshot, previous, change };
    for (const subscriber of this.#subscribers) {
      if (!subscriber.running) void this.#pump(subscriber);
    }
  }

  clear(): void {
    for (const subscriber of this.#subscribers) subscriber.removed = true;
    this.#subscribers.clear();
  }

  #add(subscriber: Subscriber): () => void {
    this.#subscribers.add(subscriber);
    return () => {
      subscriber.removed = true;
      this.#subscribers.delete(subscriber);
    };
  }

  async #pump(subscriber: Subscriber): Promise<void> {
    subscriber.running = true;
    for (let latest = this.#latest; latest !== undefined && !subscriber.removed; latest = this.#latest) {
      if (subscriber.seen === latest.snapshot) break;
      const { seen } = subscriber;
      subscriber.seen = latest.snapshot;
      await this.#tell(subscriber, seen, latest);
    }
    subscriber.running = false;
  }

  async #tell(
    subscriber: Subscriber,
    seen: Snapshot,
    latest: { readonly snapshot: Snapshot; readonly previous: Snapshot; readonly change: ConfigChange },
  ): Promise<void> {
    const { parts, callback } = subscriber;
    try {
      const change =
        seen === latest.previous
          ? latest.change
          : this.#options.between(latest.snapshot, seen, latest.change);
      if (parts === undefined) {
        if (change.changes.length > 0) await Reflect.apply(callback, undefined, [change]);
        return;
      }
      const value = latest.snapshot.at(parts);
      const previous = seen.at(parts);
      if (!Object.is(value, previous)) await Reflect.apply(callback, undefined, [value, previous, change]);
    } catch (error) {
      (this.#options.logger ?? silentLogger).error({ err: error }, 'a configuration callback failed');
      this.#options.onError(error);
    }
  }
}
