import {
  Background,
  IsolatedEmitter,
  toMilliseconds,
  withTimeout,
  type CloseOptions,
  type HealthIndicator,
} from '@xiaoke/core';
import { openRedis } from '@xiaoke/core/redis';
import type { RegistryBackend } from './backend.ts';
import { Heartbeat } from './heartbeat.ts';
import { resolveInstance, type Instance, type InstanceInit } from './instance.ts';
import { MemoryBackend } from './memory/memory-backend.ts';
import { Lookup, unavailable } from './lookup.ts';
import { measureInstances } from './metrics.ts';
import {
  resolveLease,
  resolveRegistryOptions,
  type ResolvedRegistryOptions,
  type ServiceRegistryOptions,
} from './options.ts';
import { impatient, RedisBackend } from './redis/redis-backend.ts';
import { HeldRegistration, type Registration } from './registration.ts';
import type { RegistryEvents, RegistryStats, ServiceRegistry, WatchOptions } from './registry.ts';
import type { ServiceWatch } from './service-watch.ts';
import { compileFilter, type InstanceFilter, type ServiceSnapshot } from './snapshot.ts';

const CLOSE_TIMEOUT = 5_000;
const EVERYTHING = compileFilter(undefined);

/**
 * Makes a registry. Nothing is connected before it is used.
 *
 * @throws `INVALID_OPTION`
 *
 * @example
 * ```ts
 * import { createServiceRegistry } from '@xiaoke/health/discovery';
 * const registry = createServiceRegistry(); // { redis: 'redis://localhost:6379' } to share it
 * const self = await registry.register({ id: 'a', service: 'scheduling', url: 'http://10.0.0.1:8080' });
 * console.log((await registry.discover('scheduling')).instances[0]?.url); // => http://10.0.0.1:8080
 * await self.setStatus('draining');
 * console.log((await registry.discover('scheduling')).instances.length); // => 0
 * await registry.close();
 * ```
 */
export function createServiceRegistry(options?: ServiceRegistryOptions): ServiceRegistry {
  return new Registry(resolveRegistryOptions(options));
}

class Registry extends IsolatedEmitter<RegistryEvents> implements ServiceRegistry {
  readonly #options: ResolvedRegistryOptions;
  readonly #background: Background;
  readonly #heartbeat: Heartbeat;
  readonly #lookup: Lookup;
  readonly #closing = new AbortController();
  readonly #counts = { reregistrations: 0, callbackErrors: 0 };
  #opened: Promise<RegistryBackend> | undefined;
  #close: Promise<void> | undefined;

  constructor(options: ResolvedRegistryOptions) {
    super({ logger: options.logger, onListenerError: () => void (this.#counts.callbackErrors += 1) });
    this.#options = options;
    this.#background = new Background({ logger: options.logger });
    const host = { ...options, background: this.#background, backend: () => this.#backend() };
    this.#heartbeat = new Heartbeat(host);
    this.#lookup = new Lookup({
      ...host,
      own: (service) => this.#own(service),
      onChange: (view) => void this.emit('change', view.snapshot(EVERYTHING)),
    });
    measureInstances(options.metrics, () => this.#lookup.views.all(), this.#closing.signal);
  }

  get closed(): boolean {
    return this.#close !== undefined;
  }

  async register(init: InstanceInit): Promise<Registration> {
    const { clock, logger } = this.#options;
    const instance = resolveInstance(init, clock.now());
    const lease = resolveLease(init, this.#options);
    this.#lookup.refuseClosed();
    const registration = new HeldRegistration(instance, {
      clock,
      logger,
      lease,
      backend: () => this.#backend(),
      onEvent: (kind, of) => {
        if (kind === 'reregistered') this.#counts.reregistrations += 1;
        this.emit(kind, of);
      },
      onClosed: (of) => this.#heartbeat.delete(of),
    });
    await registration.write();
    if (this.closed) await registration.deregister();
    this.#lookup.refuseClosed();
    this.#heartbeat.add(registration);
    return registration;
  }

  discover(service: string, filter?: InstanceFilter): Promise<ServiceSnapshot> {
    return this.#lookup.discover(service, filter);
  }

  watch(service: string, options: WatchOptions = {}): ServiceWatch {
    return this.#lookup.watch(service, options);
  }

  async services(): Promise<string[]> {
    this.#lookup.refuseClosed();
    try {
      const backend = await this.#backend();
      return [...(await backend.services())];
    } catch (error) {
      throw unavailable(error);
    }
  }

  stats(): RegistryStats {
    const { beats, failures } = this.#heartbeat.counts;
    const services = this.#lookup.views
      .all()
      .map((view) => [view.service, { instances: view.size, stale: view.stale }] as const);
    return {
      registrations: this.#heartbeat.held.size,
      watches: this.#lookup.watches.size,
      heartbeats: beats,
      failedHeartbeats: failures,
      ...this.#counts,
      services: Object.fromEntries(services),
    };
  }

  healthIndicator(): HealthIndicator {
    return {
      name: 'discovery',
      check: async () => {
        if (this.closed) return { status: 'unhealthy', code: 'REGISTRY_CLOSED' };
        try {
          await this.services();
          return { status: 'healthy' };
        } catch {
          // Traffic goes on with what is known.
          return { status: 'degraded', code: 'REGISTRY_UNAVAILABLE' };
        }
      },
    };
  }

  close(options: CloseOptions = {}): Promise<void> {
    this.#close ??= this.#closeAll(toMilliseconds(options.timeout ?? CLOSE_TIMEOUT, 'timeout'));
    return this.#close;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #closeAll(timeout: number): Promise<void> {
    const { clock, logger } = this.#options;
    const end = clock.monotonic() + timeout;
    this.#closing.abort();
    const held = [...this.#heartbeat.held];
    this.#heartbeat.close();
    this.#lookup.close();
    const goodbyes = Promise.all(held.map((registration) => registration.deregister()));
    await withTimeout(goodbyes, timeout, 'saying goodbye', { clock }).catch((error: unknown) =>
      logger.warn({ err: error }, 'goodbyes were not said in time; the leases will end'),
    );
    const opened = await this.#opened?.catch(() => undefined);
    await opened?.close(Math.max(100, end - clock.monotonic()));
  }

  // The connection is made on first use, so that a registry that is only configured costs nothing.
  #backend(): Promise<RegistryBackend> {
    this.#opened ??= this.#open();
    return this.#opened;
  }

  async #open(): Promise<RegistryBackend> {
    const { redis, clock, namespace, logger, random, commandTimeoutMs } = this.#options;
    const overrides = impatient(commandTimeoutMs);
    const backend =
      redis === undefined
        ? new MemoryBackend(clock, namespace)
        : new RedisBackend(
            await openRedis(redis, { load: () => import('ioredis'), overrides, logger, random }),
            this.#options,
          );
    await backend.start({
      onChange: (change) => this.#lookup.views.told(change),
      onGap: () => {
        this.#heartbeat.now();
        this.#lookup.views.refresh();
      },
    });
    return backend;
  }

  #own(service: string): readonly Instance[] {
    const own = [...this.#heartbeat.held].filter((registration) => registration.service === service);
    return own.map(({ instance }) => instance);
  }
}
