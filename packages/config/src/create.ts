import { processWide } from '@xiaoke/core';
import { ConfigInvalidError, StoreUnavailableError } from './errors.ts';
import { HotConfigManager } from './hot-config-manager.ts';
import type { ConfigManager } from './manager.ts';
import { MemoryConfigStore } from './memory/memory-store.ts';
import { resolveConfigOptions, type ConfigManagerOptions, type ResolvedOptions } from './options.ts';
import { RedisConfigStore } from './redis/redis-store.ts';
import { RuntimeControl } from './runtime-control.ts';
import { SourceSet } from './source-set.ts';
import { makeSlot } from './source.ts';
import type { ConfigStore } from './store.ts';
import { Updates } from './updates.ts';

/**
 * Makes a manager. With a schema, a configuration in which something is wrong rejects; one in which something is only
 * missing waits, in state `starting`, for the sources added next.
 *
 * @throws {@link InvalidOptionError}, {@link ConfigInvalidError}, {@link StoreUnavailableError}
 *
 * @example
 * ```ts
 * import { createConfigManager } from '@xiaoke/config';
 * const config = await createConfigManager({ defaults: { server: { port: 3000 } } });
 * await config.set('server.port', 8080, { author: 'ada', reason: 'behind the proxy' });
 * console.log(config.get('server.port'), config.version); // => 8080 1
 * await config.close();
 * ```
 */
export async function createConfigManager<T = unknown>(
  options: ConfigManagerOptions<T> = {},
): Promise<ConfigManager<T>> {
  const resolved = resolveConfigOptions(options);
  const updates = new Updates(resolved);
  const store = await openStore(resolved);
  const runtime = new RuntimeControl({
    engine: updates.engine,
    store,
    options: resolved,
    apply: (candidate, kind, author) => {
      updates.counts.commits += 1;
      updates.apply(candidate, [{ kind, source: author }]);
    },
    offer: async (layer, version) => {
      runtime.slot.latest = layer;
      await updates.settle(new Map([[runtime.slot, { kind: 'store', source: store.name }]]), version);
    },
    onRegression: (regression) => {
      updates.counts.regressions += 1;
      updates.events.emit('regressed', regression);
    },
    onConflict: () => void (updates.counts.conflicts += 1),
  });
  const sources = new SourceSet(updates, resolved);
  const defaults = makeSlot('defaults', 'defaults', {
    kind: 'defaults',
    name: 'defaults',
    values: resolved.defaults,
  });
  updates.engine.slots.push(defaults, runtime.slot);
  const manager = new HotConfigManager({
    options: resolved,
    updates,
    runtime,
    sources,
    store,
    canary: { close: async () => {} },
  });
  try {
    await begin(updates, runtime, store);
  } catch (error) {
    await manager.close();
    throw error;
  }
  return manager as unknown as ConfigManager<T>;
}

async function begin(updates: Updates, runtime: RuntimeControl, store: ConfigStore): Promise<void> {
  const head = await store.read();
  if (head !== undefined) runtime.begin(head);
  const start = { kind: 'start', source: 'start' } as const;
  const error = await updates.settle(new Map([[runtime.slot, start]]), runtime.known.version);
  if (error instanceof ConfigInvalidError) throw error;
  const refresh = coalesced(updates, runtime);
  await store.follow({
    onHint: () => {
      if (updates.closed) return;
      updates.background.run(() => follow(updates, runtime, refresh), 'follow the store');
    },
    onAvailable: () => updates.mark(runtime.slot, undefined),
    onUnavailable: (reason) => markUnavailable(updates, runtime, reason),
  });
}

async function follow(
  updates: Updates,
  runtime: RuntimeControl,
  refresh: () => Promise<void>,
): Promise<void> {
  try {
    await refresh();
    updates.mark(runtime.slot, undefined);
  } catch (error) {
    if (!(error instanceof StoreUnavailableError)) throw error;
    if (!updates.closed) markUnavailable(updates, runtime, error.message);
  }
}

function markUnavailable(updates: Updates, runtime: RuntimeControl, message: string): void {
  updates.mark(runtime.slot, { code: 'CONFIG_STORE_UNAVAILABLE', message });
}

/** However many ask while one run waits for its turn, that one run serves them all. */
function coalesced(updates: Updates, runtime: RuntimeControl): () => Promise<void> {
  let waiting: Promise<void> | undefined;
  return async () => {
    waiting ??= updates.serial.run(async () => {
      waiting = undefined;
      if (!updates.closed) await runtime.refresh();
    });
    await waiting;
  };
}

async function openStore(options: ResolvedOptions): Promise<ConfigStore> {
  const { redis, store, clock, random, logger, namespace, environment, storeTimeout: timeout } = options;
  if (store !== undefined) return store;
  if (redis === undefined) return new MemoryConfigStore(clock);
  return await RedisConfigStore.open({ redis, namespace, environment, timeout, clock, random, logger });
}

/** The process-wide manager for a Redis address (or for none), made on first use. */
export const getConfigManager: (redisUrl?: string) => Promise<ConfigManager> = processWide(
  '@xiaoke/config',
  (redisUrl?: string) => createConfigManager(redisUrl === undefined ? {} : { redis: redisUrl }),
);
