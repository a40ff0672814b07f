import { onAbort, withTimeout, type Clock, type Duration, type Logger, toMilliseconds } from '@xiaoke/core';
import { DiscoveryError } from './errors.ts';
import type { ServiceSnapshot } from './snapshot.ts';

/**
 * The instances of a service, kept up to date until it is closed.
 *
 * To iterate gives what is known, as soon as anything is, and then the newest state after each change; who is slow misses
 * states in between, never the last one. Leaving the loop closes the watch unless somebody else uses it.
 */
export interface ServiceWatch extends AsyncIterable<ServiceSnapshot>, AsyncDisposable {
  readonly service: string;
  /** What is known now; before the first answer that is what this process registered itself. */
  readonly current: ServiceSnapshot;
  /** Resolves once the registry has answered. @throws `TIMEOUT` after `timeout`, by default 5 s */
  ready(timeout?: Duration): Promise<ServiceSnapshot>;
  /** Called after each change. Returns the function that ends it. */
  onChange(listener: (snapshot: ServiceSnapshot) => void): () => void;
  /** Idempotent; ends every iteration. */
  close(): void;
}

/** What a watch looks through. */
export interface WatchSource {
  readonly clock: Clock;
  readonly logger: Logger;
  /** What is known now. */
  snapshot(): ServiceSnapshot;
  /** Whether the registry has answered. */
  heard(): boolean;
  /** Begins to keep it up to date for `watch` and to call `onChange`; returns the function that stops it. */
  open(onChange: () => void, watch: ServiceWatch): () => void;
}

type Listener = (snapshot: ServiceSnapshot) => void;

/** The watch behind {@link ServiceWatch}, for every kind of registry. */
export class SourceWatch implements ServiceWatch {
  readonly service: string;
  readonly #source: WatchSource;
  readonly #listeners = new Set<Listener>();
  readonly #forgetSignal: () => void;
  #stop: (() => void) | undefined;
  #current: ServiceSnapshot | undefined;
  #closed = false;

  constructor(service: string, source: WatchSource, signal?: AbortSignal) {
    this.service = service;
    this.#source = source;
    this.#forgetSignal = onAbort(signal, () => this.close());
    this.#open();
  }

  get current(): ServiceSnapshot {
    if (this.#closed || this.#stop === undefined) return this.#current ?? this.#source.snapshot();
    this.#current ??= this.#source.snapshot();
    return this.#current;
  }

  async ready(timeout: Duration = '5s'): Promise<ServiceSnapshot> {
    const limit = toMilliseconds(timeout, 'timeout');
    if (this.#source.heard()) return this.current;
    if (this.#closed) throw new DiscoveryError('REGISTRY_CLOSED', 'The watch is closed');
    let forget = (): void => {};
    const heard = new Promise<void>((resolve) => {
      forget = this.onChange(() => {
        if (this.#source.heard() || this.#closed) resolve();
      });
    });
    try {
      await withTimeout(heard, limit, `the first answer about ${this.service}`, {
        clock: this.#source.clock,
      });
    } finally {
      forget();
    }
    return this.current;
  }

  onChange(listener: Listener): () => void {
    this.#open();
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  [Symbol.asyncIterator](): AsyncIterator<ServiceSnapshot> {
    let seen: ServiceSnapshot | undefined;
    let wake = (): void => {};
    const forget = this.onChange(() => wake());
    const end = (): IteratorResult<ServiceSnapshot> => {
      forget();
      wake();
      return { done: true, value: undefined };
    };
    const next = async (): Promise<IteratorResult<ServiceSnapshot>> => {
      for (;;) {
        const { current } = this;
        if (this.#closed) return end();
        if (current !== seen && (this.#source.heard() || current.instances.length > 0)) {
          seen = current;
          return { done: false, value: current };
        }
        await new Promise<void>((resolve) => (wake = resolve));
        if (this.#listeners.size === 0) return end();
      }
    };
    const leave = async (): Promise<IteratorResult<ServiceSnapshot>> => {
      const ended = end();
      if (this.#listeners.size === 0) this.#release();
      return ended;
    };
    return { next, return: leave };
  }

  close(): void {
    if (this.#closed) return;
    this.#current = this.current;
    this.#closed = true;
    this.#forgetSignal();
    this.#release();
    this.#notify();
    this.#listeners.clear();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }

  #open(): void {
    if (this.#closed || this.#stop !== undefined) return;
    this.#current = undefined;
    this.#stop = this.#source.open(() => {
      this.#current = undefined;
      this.#notify();
    }, this);
  }

  #release(): void {
    this.#current = this.current;
    this.#stop?.();
    this.#stop = undefined;
  }

  #notify(): void {
    for (const listener of this.#listeners) {
      try {
        listener(this.current);
      } catch (error) {
        this.#source.logger.error({ err: error, service: this.service }, 'a watch listener failed');
      }
    }
  }
}
