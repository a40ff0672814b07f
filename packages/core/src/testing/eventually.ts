import { systemClock } from '../clock.ts';
import { sleep } from '../wait.ts';

/** How long and how often {@link eventually} looks. */
export interface EventuallyOptions {
  /** Milliseconds after which the last failure is thrown. @default 10000 */
  readonly timeout?: number;
  /** Milliseconds between two looks. @default 10 */
  readonly interval?: number;
}

/**
 * Runs `probe` until it neither throws nor gives `false`, and resolves to what it gave. Use it where there is no event to
 * wait for, never a sleep.
 */
export async function eventually<T>(
  probe: () => T | Promise<T>,
  options: EventuallyOptions = {},
): Promise<T> {
  const { timeout = 10_000, interval = 10 } = options;
  const deadline = systemClock.monotonic() + timeout;
  for (;;) {
    try {
      const result = await probe();
      if (result !== false) return result;
      if (systemClock.monotonic() > deadline) throw new Error(`still false after ${timeout} ms`);
    } catch (error) {
      if (systemClock.monotonic() > deadline) throw error;
    }
    await sleep(interval);
  }
}
