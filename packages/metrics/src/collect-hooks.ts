import { withTimeout, type Clock, type Logger } from '@xiaoke/core';

/** Something to be called before a scrape. */
export interface CollectHook {
  /** The metric it fills, which names it in errors. */
  readonly name: string;
  readonly collect: (context: { readonly signal: AbortSignal }) => void | Promise<void>;
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds for which a run is good enough. */
  readonly every?: number;
}

/** A hook and its state; shared by all collectors of a registry. */
export interface CollectEntry extends CollectHook {
  running: Promise<void> | undefined;
  ranAt: number;
}

/**
 * The functions that fill metrics at scrape time. Each is bounded in time and isolated: one that throws or hangs is
 * counted and costs the scrape at most the limit, and while it hangs it is not started again.
 */
export class CollectHooks {
  readonly #entries: Set<CollectEntry>;
  readonly #own = new Set<CollectEntry>();
  /** What `guard` runs now, by name. */
  readonly #guarded = new Map<string, Promise<unknown>>();
  readonly #timeout: number;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #onError: (name: string) => void;

  constructor(options: {
    /** Where the hooks are kept; the collectors of one registry share it, so that each serves the gauges of all. */
    readonly entries: Set<CollectEntry>;
    readonly timeout: number;
    readonly clock: Clock;
    readonly logger: Logger;
    readonly onError: (name: string) => void;
  }) {
    this.#entries = options.entries;
    this.#timeout = options.timeout;
    this.#clock = options.clock;
    this.#logger = options.logger;
    this.#onError = options.onError;
  }

  /** Adds a hook; returns the function that takes it back. */
  add(hook: CollectHook): () => void {
    this.#forgetClosed();
    const entry: CollectEntry = { ...hook, running: undefined, ranAt: -Infinity };
    this.#entries.add(entry);
    this.#own.add(entry);
    const remove = (): void => {
      this.#entries.delete(entry);
      this.#own.delete(entry);
    };
    return remove;
  }

  /** Runs all hooks, or those of one metric. Never rejects, and settles within the limit. */
  async run(name?: string): Promise<void> {
    this.#forgetClosed();
    const entries = [...this.#entries].filter((entry) => name === undefined || entry.name === name);
    await Promise.all(entries.map((entry) => this.#run(entry)));
  }

  /**
   * Bounds and isolates other work of a scrape in the same way; `undefined` when it failed. Work of the same name that
   * still hangs is waited for again rather than started again, so that scrapes do not pile it up.
   */
  async guard(name: string, work: () => unknown): Promise<unknown> {
    try {
      const running = this.#guarded.get(name) ?? this.#begin(name, work);
      return await withTimeout(running, this.#timeout, `collecting ${name}`, { ref: false });
    } catch (error) {
      this.#report(name, error);
      return undefined;
    }
  }

  #begin(name: string, work: () => unknown): Promise<unknown> {
    const running = Promise.resolve(work());
    const done = (): void => void this.#guarded.delete(name);
    this.#guarded.set(name, running);
    running.then(done, done);
    return running;
  }

  /** Forgets the hooks that were added through this object. */
  clear(): void {
    for (const entry of this.#own) this.#entries.delete(entry);
    this.#own.clear();
  }

  // Looked at rather than listened to: one signal may end many hooks, and Node warns of more than ten listeners.
  #forgetClosed(): void {
    for (const entry of this.#entries) if (entry.signal?.aborted === true) this.#entries.delete(entry);
  }

  async #run(entry: CollectEntry): Promise<void> {
    if (this.#clock.now() - entry.ranAt < (entry.every ?? 0)) return;
    const first = entry.running === undefined;
    const abort = new AbortController();
    if (entry.running === undefined) {
      const done = (): void => void (entry.running = undefined);
      entry.running = this.#start(entry, abort.signal);
      entry.running.then(done, done);
    }
    try {
      await withTimeout(entry.running, this.#timeout, `collecting ${entry.name}`, { ref: false });
    } catch (error) {
      // Two scrapes that wait for the same run report its failure once.
      if (first) this.#report(entry.name, error);
      abort.abort(error);
    }
  }

  async #start(entry: CollectEntry, signal: AbortSignal): Promise<void> {
    const result = entry.collect({ signal });
    if (result !== undefined) await result;
    entry.ranAt = this.#clock.now();
  }

  #report(name: string, error: unknown): void {
    this.#logger.warn({ err: error, metric: name }, 'collecting a metric failed');
    this.#onError(name);
  }
}
