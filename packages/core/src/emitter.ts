import { EventEmitter } from 'node:events';
import { silentLogger, type Logger } from './logger.ts';

/** Event names and the arguments of their listeners. */
export type EventMap = Record<string, readonly unknown[]>;

/** The events of `E` and the `error` event that every manager has. */
export type WithError<E extends object> = E & { error: [error: unknown] };

/** What an emitter needs to report a listener that fails. */
export interface EmitterOptions {
  readonly logger?: Logger | undefined;
  /** Called for each listener that threw or rejected, for counting. */
  readonly onListenerError?: ((event: string, error: unknown) => void) | undefined;
}

type Listener = (...args: unknown[]) => unknown;

/**
 * A typed `EventEmitter` whose listeners cannot hurt anybody: one that throws or rejects is logged and counted, the
 * others still run, and the emitter's own work goes on. An `error` event without a listener is logged, never thrown.
 */
export class IsolatedEmitter<E extends object> {
  readonly #emitter = new EventEmitter({ captureRejections: false });
  readonly #logger: Logger;
  readonly #onListenerError: (event: string, error: unknown) => void;

  constructor(options: EmitterOptions = {}) {
    this.#logger = options.logger ?? silentLogger;
    this.#onListenerError = options.onListenerError ?? (() => {});
    // A limit on listeners is the application's business; a leak shows in listenerCount().
    this.#emitter.setMaxListeners(0);
  }

  on<K extends keyof WithError<E> & string>(
    event: K,
    listener: (...args: ArgumentsOf<E, K>) => unknown,
  ): this {
    this.#emitter.on(event, listener as Listener);
    return this;
  }

  once<K extends keyof WithError<E> & string>(
    event: K,
    listener: (...args: ArgumentsOf<E, K>) => unknown,
  ): this {
    this.#emitter.once(event, listener as Listener);
    return this;
  }

  off<K extends keyof WithError<E> & string>(
    event: K,
    listener: (...args: ArgumentsOf<E, K>) => unknown,
  ): this {
    this.#emitter.off(event, listener as Listener);
    return this;
  }

  /** How many listeners `event` has. */
  listenerCount(event: keyof WithError<E> & string): number {
    return this.#emitter.listenerCount(event);
  }

  removeAllListeners(event?: keyof WithError<E> & string): this {
    // Passing undefined would mean the event called 'undefined'.
    if (event === undefined) this.#emitter.removeAllListeners();
    else this.#emitter.removeAllListeners(event);
    return this;
  }

  /** Calls every listener, in order. Returns whether there was one. */
  emit<K extends keyof WithError<E> & string>(event: K, ...args: ArgumentsOf<E, K>): boolean {
    if (this.#emitter.listenerCount(event) === 0) {
      if (event === 'error') this.#logger.error({ err: args[0] }, 'an error event had no listener');
      return false;
    }
    // rawListeners() is a copy, and keeps the wrappers that make once() remove itself.
    for (const listener of this.#emitter.rawListeners(event)) this.#call(event, listener as Listener, args);
    return true;
  }

  #call(event: string, listener: Listener, args: readonly unknown[]): void {
    try {
      const result = Reflect.apply(listener, this, args);
      if (isThenable(result)) result.then(undefined, (error: unknown) => this.#report(event, error));
    } catch (error) {
      this.#report(event, error);
    }
  }

  #report(event: string, error: unknown): void {
    this.#logger.error({ err: error, event }, 'an event listener failed');
    this.#onListenerError(event, error);
  }
}

type ArgumentsOf<E extends object, K extends keyof WithError<E>> = WithError<E>[K] extends readonly unknown[]
  ? [...WithError<E>[K]]
  : never;

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function';
}
