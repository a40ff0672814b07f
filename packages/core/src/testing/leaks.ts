import { eventually } from './eventually.ts';

/** What keeps a process alive, counted by kind: `Timeout`, `TCPSocketWrap`, `Worker` and so on. */
export type ActiveResources = ReadonlyMap<string, number>;

/** Counts what keeps the process alive now. */
export function activeResources(): ActiveResources {
  const counts = new Map<string, number>();
  for (const kind of process.getActiveResourcesInfo()) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  return counts;
}

/**
 * Remembers what is alive now and gives a check that fails when more is alive later. Closing is asynchronous in the
 * kernel, so the check waits up to `timeout` milliseconds for things to go.
 *
 * @example
 * ```ts
 * import { trackLeaks } from '@xiaoke/core/testing';
 * const check = trackLeaks();
 * // ... make, use and close something ...
 * await check();
 * ```
 */
export function trackLeaks(kinds: readonly string[] = LEAKING_KINDS): (timeout?: number) => Promise<void> {
  const before = activeResources();
  return async (timeout = 2_000) => {
    await eventually(
      () => {
        const leaked = kinds.filter((kind) => (activeResources().get(kind) ?? 0) > (before.get(kind) ?? 0));
        // The wait below is itself a timer.
        const real = leaked.filter((kind) => kind !== 'Timeout' || extraTimers(before) > 0);
        if (real.length > 0) throw new Error(`left alive: ${real.join(', ')}`);
      },
      { timeout },
    );
  };
}

const LEAKING_KINDS: readonly string[] = [
  'Timeout',
  'TCPSocketWrap',
  'TCPServerWrap',
  'MessagePort',
  'Worker',
  'FSEventWrap',
];

function extraTimers(before: ActiveResources): number {
  return (activeResources().get('Timeout') ?? 0) - (before.get('Timeout') ?? 0);
}
