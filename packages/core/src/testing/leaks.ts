import { AsyncLocalStorage, createHook } from 'node:async_hooks';
import { eventually } from './eventually.ts';

// What async_hooks calls the things that outlive a call.
const KINDS: ReadonlySet<string> = new Set([
  'Timeout',
  'TCPWRAP',
  'TCPSERVERWRAP',
  'PIPEWRAP',
  'PROCESSWRAP',
  'WORKER',
  'FSEVENTWRAP',
  'STATWATCHER',
]);

interface Tracked {
  readonly live: Map<number, string>;
}

const scope = new AsyncLocalStorage<Tracked>();
const owners = new Map<number, Tracked>();

const hook = createHook({
  init(id, kind) {
    if (!KINDS.has(kind)) return;
    const tracked = scope.getStore();
    if (tracked === undefined) return;
    tracked.live.set(id, kind);
    owners.set(id, tracked);
  },
  destroy(id) {
    owners.get(id)?.live.delete(id);
    owners.delete(id);
  },
});

/**
 * From here on, in this asynchronous context (the rest of the test), remembers every timer, socket, server, worker, child
 * process and file watcher that is made, unreferenced ones too. The returned check fails while one of them is still alive;
 * since the system closes things a little later, it waits up to `timeout` milliseconds for them to go.
 *
 * @example
 * ```ts
 * import { trackLeaks } from '@xiaoke/core/testing';
 * const check = trackLeaks();
 * // ... make, use and close something ...
 * await check();
 * ```
 */
export function trackLeaks(): (timeout?: number) => Promise<void> {
  const tracked: Tracked = { live: new Map() };
  hook.enable();
  scope.enterWith(tracked);
  const look = (): void => {
    if (tracked.live.size > 0) throw new Error(`left alive: ${[...tracked.live.values()].sort().join(', ')}`);
  };
  // The waiting itself uses timers, so it happens outside.
  return (timeout = 2_000) => scope.exit(() => eventually(look, { timeout }));
}
