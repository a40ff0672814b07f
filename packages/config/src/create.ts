import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { processWide } from '@xiaoke/core';
import { Canary } from './canary.ts';
import { ConfigInvalidError, StoreUnavailableError } from './errors.ts';
import { jsonSchemaOf } from './json-schema.ts';
import { LastGood } from './last-good.ts';
import { maskingLogger } from './masking-logger.ts';
import { HotConfigManager } from './hot-config-manager.ts';
import type { ConfigManager } from './manager.ts';
import { MemoryConfigStore } from './memory/memory-store.ts';
import { resolveConfigOptions, type ConfigManagerOptions, type ResolvedOptions } from './options.ts';
import { RedisConfigStore } from './redis/redis-store.ts';
import { RuntimeControl } from './runtime-control.ts';
import { SecretRules } from './secrets.ts';
import { SourceSet } from './source-set.ts';
import { makeSlot } from './source.ts';
import { trailMark, type ConfigStore, type StoreHead, type StoreNews } from './store.ts';
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
  const given = resolveConfigOptions(options);
  const secrets = new SecretRules(given.secrets, jsonSchemaOf(given.schema));
  const resolved = { ...given, logger: maskingLogger(given.logger, (text) => secrets.clean(text)) };
  const updates = new Updates(resolved, secrets);
  const store = await openStore(resolved);
  const runtime = openRuntime(updates, store, resolved);
  const lastGood = new LastGood(
    resolved.cacheFile,
    `${resolved.namespace}:${resolved.environment}`,
    resolved.logger,
  );
  await lastGood.open();
  const sources = new SourceSet(updates, resolved, lastGood);
  const defaults = makeSlot('defaults', 'defaults', {
    kind: 'defaults',
    name: 'defaults',
    values: resolved.defaults,
  });
  updates.engine.slots.push(defaults, runtime.slot, sources.environment);
  updates.onApplied = () => {
    const remote = updates.engine.slots.find((slot) => slot.kind === 'remote');
    lastGood.keep(remote?.accepted, runtime.known);
    sources.followNamedFiles();
  };
  const instance = resolved.instanceId ?? `${hostname()}-${process.pid}-${randomUUID().slice(0, 8)}`;
  const canary = new Canary({ options: resolved, updates, runtime, store, instance });
  const manager = new HotConfigManager({
    options: resolved,
    updates,
    runtime,
    sources,
    lastGood,
    store,
    canary,
  });
  try {
    await begin({ updates, runtime, store, lastGood, canary, options: resolved });
  } catch (error) {
    await manager.close();
    throw error;
  }
  return manager as unknown as ConfigManager<T>;
}

function openRuntime(updates: Updates, store: ConfigStore, options: ResolvedOptions): RuntimeControl {
  const runtime = new RuntimeControl({
    engine: updates.engine,
    store,
    options,
    apply: (candidate, kind, author) => {
      updates.counts.commits += 1;
      updates.apply(candidate, [{ kind, source: author }]);
    },
    offer: async (layer, version, kind) => {
      runtime.slot.latest = layer;
      return await updates.settle(new Map([[runtime.slot, { kind, source: store.name }]]), version);
    },
    onRegression: (regression) => {
      updates.counts.regressions += 1;
      updates.events.emit('regressed', regression);
    },
    onConflict: () => void (updates.counts.conflicts += 1),
  });
  return runtime;
}

interface Parts {
  readonly updates: Updates;
  readonly runtime: RuntimeControl;
  readonly store: ConfigStore;
  readonly lastGood: LastGood;
  readonly canary: Canary;
  readonly options: ResolvedOptions;
}

/** The first head: the store's; the kept one when the store does not answer, or lost just what was kept. */
async function firstHead({
  store,
  lastGood,
  options,
  updates,
  runtime,
}: Parts): Promise<StoreHead | undefined> {
  const kept = lastGood.runtime;
  try {
    const head = await store.read();
    if (kept === undefined || (head !== undefined && head.version >= kept.version)) return head;
    const ownPast = head === undefined || kept.trail.includes(trailMark(head.version, head.digest));
    return ownPast ? kept : head;
  } catch (error) {
    if (!(error instanceof StoreUnavailableError)) throw error;
    if (kept === undefined && options.requireStore) throw error;
    options.logger.warn(
      { reason: error.message, copy: kept !== undefined },
      'the store did not answer at the start',
    );
    updates.mark(runtime.slot, { code: 'CONFIG_STORE_UNAVAILABLE', message: error.message });
    return kept;
  }
}

async function begin(parts: Parts): Promise<void> {
  const { updates, runtime, store } = parts;
  const head = await firstHead(parts);
  if (head !== undefined) runtime.begin(head);
  const start = { kind: 'start', source: 'start' } as const;
  const error = await updates.settle(new Map([[runtime.slot, start]]), runtime.known.version);
  if (error instanceof ConfigInvalidError) throw error;
  const refresh = coalesced(parts);
  await store.follow({
    onHint: (news) => {
      if (updates.closed) return;
      updates.background.run(() => follow(updates, runtime, () => refresh(news)), 'follow the store');
    },
    onAvailable: () => updates.mark(runtime.slot, undefined),
    onUnavailable: (reason) => markUnavailable(updates, runtime, reason),
  });
  // Whatever happened between the first look and the first hint, and a kept copy that the store lost.
  updates.background.run(() => follow(updates, runtime, refresh), 'compare with the store');
}

async function follow(
  updates: Updates,
  runtime: RuntimeControl,
  refresh: (news?: readonly StoreNews[]) => Promise<void>,
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
function coalesced({ updates, runtime, canary }: Parts): (news?: readonly StoreNews[]) => Promise<void> {
  let waiting: Promise<void> | undefined;
  let gathered: readonly StoreNews[] | undefined = [];
  return async (news) => {
    gathered = news && gathered && [...gathered, ...news];
    waiting ??= updates.serial.run(async () => {
      const told = gathered;
      [waiting, gathered] = [undefined, []];
      if (updates.closed) return;
      if (told !== undefined && (await runtime.advance(told))) return;
      await runtime.refresh();
      await canary.follow();
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
