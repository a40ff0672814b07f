import { systemClock, type Clock } from './clock.ts';
import { TimeoutError } from './errors.ts';

/** What bounds a wait. */
export interface WaitOptions {
  /** Ends the wait early: it rejects with `signal.reason`. */
  readonly signal?: AbortSignal | undefined;
  /** @default systemClock */
  readonly clock?: Clock | undefined;
  /** Whether the wait keeps the process alive. @default true */
  readonly ref?: boolean | undefined;
}

/** Waits `delay` milliseconds. Rejects with `signal.reason` when aborted, and then leaves no timer or listener. */
export function sleep(delay: number, options: WaitOptions = {}): Promise<void> {
  const { signal, clock = systemClock, ref = true } = options;
  if (signal?.aborted) return Promise.reject(signal.reason);
  return new Promise((resolve, reject) => {
    const timer = clock.setTimeout(() => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    }, delay);
    if (!ref) timer.unref();
    const onAbort = (): void => {
      timer.cancel();
      reject(signal?.reason);
    };
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}

/** Settles as `work` does, or rejects with `signal.reason` as soon as it is aborted. `work` itself goes on. */
export function abortable<T>(work: PromiseLike<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return Promise.resolve(work);
  return new Promise((resolve, reject) => {
    // Whatever happens to `work` later, somebody has listened to it.
    const takeBack = onAbort(signal, reject);
    work.then(
      (value) => {
        takeBack();
        resolve(value);
      },
      (error: unknown) => {
        takeBack();
        reject(error);
      },
    );
  });
}

/**
 * Settles as `work` does, or rejects with a {@link TimeoutError} after `timeout` milliseconds. `work` itself goes on:
 * give it a signal when it can stop.
 */
export function withTimeout<T>(
  work: PromiseLike<T>,
  timeout: number,
  what: string,
  options: Pick<WaitOptions, 'clock' | 'ref'> = {},
): Promise<T> {
  const { clock = systemClock, ref = true } = options;
  if (timeout === Infinity) return Promise.resolve(work);
  return new Promise((resolve, reject) => {
    const timer = clock.setTimeout(() => reject(new TimeoutError(what, timeout)), timeout);
    if (!ref) timer.unref();
    work.then(
      (value) => {
        timer.cancel();
        resolve(value);
      },
      (error: unknown) => {
        timer.cancel();
        reject(error);
      },
    );
  });
}

/** Calls `listener` once when `signal` fires, at once if it already has. Returns a function that takes it back. */
export function onAbort(signal: AbortSignal | undefined, listener: (reason: unknown) => void): () => void {
  if (signal === undefined) return () => {};
  if (signal.aborted) {
    listener(signal.reason);
    return () => {};
  }
  const handler = (): void => listener(signal.reason);
  signal.addEventListener('abort', handler, { once: true });
  return () => signal.removeEventListener('abort', handler);
}
