import { setTimeout as sleep } from 'node:timers/promises';

/** How {@link eventually} waits. */
export interface EventuallyOptions {
  /** Milliseconds before it gives up. @default 10_000 */
  readonly timeoutMs?: number;
  /** Milliseconds between two looks. @default 15 */
  readonly everyMs?: number;
  /** What was waited for, for the error. @default 'the condition' */
  readonly what?: string;
}

/**
 * Looks again and again until `look` gives something truthy, and returns that.
 *
 * A `look` that throws counts as "not yet"; its last error becomes the `cause` when time is up.
 */
export async function eventually<T>(
  look: () => T | Promise<T>,
  options: EventuallyOptions = {},
): Promise<Exclude<Awaited<T>, false | null | undefined | 0 | ''>> {
  const { timeoutMs = 10_000, everyMs = 15, what = 'the condition' } = options;
  const deadline = performance.now() + timeoutMs;
  let cause: unknown;
  for (;;) {
    try {
      const seen = await look();
      if (seen) return seen as Exclude<Awaited<T>, false | null | undefined | 0 | ''>;
      cause = undefined;
    } catch (error) {
      cause = error;
    }
    if (performance.now() >= deadline) {
      throw new Error(`Waited ${timeoutMs} ms in vain for ${what}`, { cause });
    }
    await sleep(everyMs);
  }
}
