import { InvalidOptionError, silentLogger, systemClock, type Clock } from '@xiaoke/core';
import { DiscoveryError } from './errors.ts';
import { resolveInstance, serviceName, type Instance, type InstanceInit } from './instance.ts';
import type { ServiceDiscovery, WatchOptions } from './registry.ts';
import { SourceWatch, type ServiceWatch } from './service-watch.ts';
import { compileFilter, type CompiledFilter, type InstanceFilter, type ServiceSnapshot } from './snapshot.ts';

/** The instances of each service: URLs, or what is known of them. */
export type StaticServices = Readonly<
  Record<
    string,
    readonly (string | URL | (Omit<InstanceInit, 'id' | 'service'> & { readonly id?: string }))[]
  >
>;

/** A registry whose instances can be replaced, such as by a configuration that changed. */
export interface StaticRegistry extends ServiceDiscovery {
  /** Replaces everything; watches hear of it. @throws `INVALID_OPTION`, and then nothing changed */
  replace(services: StaticServices): void;
}

/**
 * A registry of instances that are known beforehand, for tests and for places without a registry.
 *
 * @throws `INVALID_OPTION`
 *
 * @example
 * ```ts
 * import { createStaticRegistry } from '@xiaoke/health/discovery';
 * const registry = createStaticRegistry({ auth: ['http://10.0.0.1:80', { url: 'http://10.0.0.2:80', weight: 2 }] });
 * console.log((await registry.discover('auth')).instances.length); // => 2
 * ```
 */
export function createStaticRegistry(
  services: StaticServices,
  options: { readonly clock?: Clock } = {},
): StaticRegistry {
  return new FixedRegistry(services, options.clock ?? systemClock);
}

class FixedRegistry implements StaticRegistry {
  readonly #clock: Clock;
  readonly #listeners = new Set<() => void>();
  readonly #watches = new Set<ServiceWatch>();
  #services: ReadonlyMap<string, readonly Instance[]>;
  #version = 1;
  #closed = false;

  constructor(services: StaticServices, clock: Clock) {
    this.#clock = clock;
    this.#services = resolveServices(services);
  }

  get closed(): boolean {
    return this.#closed;
  }

  replace(services: StaticServices): void {
    this.#services = resolveServices(services);
    this.#version += 1;
    for (const listener of this.#listeners) listener();
  }

  async discover(service: string, filter?: InstanceFilter): Promise<ServiceSnapshot> {
    this.#refuseClosed();
    return this.#snapshot(serviceName(service), compileFilter(filter));
  }

  watch(service: string, options: WatchOptions = {}): ServiceWatch {
    this.#refuseClosed();
    const name = serviceName(service);
    const filter = compileFilter(options.filter);
    const source = {
      clock: this.#clock,
      logger: silentLogger,
      snapshot: () => this.#snapshot(name, filter),
      heard: () => true,
      open: (onChange: () => void, watch: ServiceWatch) => {
        this.#listeners.add(onChange);
        this.#watches.add(watch);
        return () => {
          this.#listeners.delete(onChange);
          this.#watches.delete(watch);
        };
      },
    };
    return new SourceWatch(name, source, options.signal);
  }

  async services(): Promise<string[]> {
    this.#refuseClosed();
    return [...this.#services].flatMap(([name, { length }]) => (length > 0 ? [name] : [])).toSorted();
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const watch of this.#watches) watch.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #snapshot(service: string, { matches, routable }: CompiledFilter): ServiceSnapshot {
    const all = (this.#services.get(service) ?? []).filter(matches);
    return Object.freeze({
      service,
      instances: Object.freeze(all.filter(routable)),
      unroutable: Object.freeze(all.filter((instance) => !routable(instance))),
      stale: false,
      version: this.#version,
      ageMs: 0,
      suspects: [],
    });
  }

  #refuseClosed(): void {
    if (this.#closed) throw new DiscoveryError('REGISTRY_CLOSED', 'The registry is closed');
  }
}

function resolveServices(services: unknown): ReadonlyMap<string, readonly Instance[]> {
  if (typeof services !== 'object' || services === null || Array.isArray(services))
    throw new InvalidOptionError('services', 'must be an object of lists');
  const resolved = Object.entries(services as StaticServices).map(([name, list]) => {
    const service = serviceName(name);
    if (!Array.isArray(list)) throw new InvalidOptionError(`services.${name}`, 'must be a list');
    const instances = (list as StaticServices[string]).map((entry) => resolveGiven(entry, service));
    return [service, Object.freeze(instances)] as const;
  });
  return new Map(resolved);
}

/** An instance that was given as a URL, or without an id: then the URL is its id. */
export function resolveGiven(
  entry:
    | string
    | URL
    | (Omit<InstanceInit, 'id' | 'service'> & { readonly id?: string; readonly service?: string }),
  service: string,
): Instance {
  const init = typeof entry === 'string' || entry instanceof URL ? { url: entry } : entry;
  const { id = idOf(String(init?.url)), service: own = service } = init as { id?: string; service?: string };
  return resolveInstance({ ...init, id, service: own }, 0);
}

// A URL may hold what an id may not.
function idOf(url: string): string {
  return url.replaceAll(/[\s{}]/g, '_').slice(0, 200);
}
