import type { Closeable, HealthIndicator, IsolatedEmitter } from '@xiaoke/core';
import type { InstanceInit } from './instance.ts';
import type { Registration } from './registration.ts';
import type { ServiceWatch } from './service-watch.ts';
import type { InstanceFilter, ServiceSnapshot } from './snapshot.ts';

/** How a service is watched. */
export interface WatchOptions {
  readonly filter?: InstanceFilter | undefined;
  /** Closes the watch. */
  readonly signal?: AbortSignal | undefined;
}

/** Where instances can be looked up. */
export interface ServiceDiscovery extends Closeable {
  /**
   * Asks for the instances of a service. Where the registry cannot be asked, its last answer comes with `stale: true`.
   *
   * @throws `REGISTRY_UNAVAILABLE` when it never answered, `INVALID_OPTION`, `REGISTRY_CLOSED`
   */
  discover(service: string, filter?: InstanceFilter): Promise<ServiceSnapshot>;
  /** Keeps looking. @throws `INVALID_OPTION`, `REGISTRY_CLOSED` */
  watch(service: string, options?: WatchOptions): ServiceWatch;
  /** The names of the services that have instances. @throws `REGISTRY_UNAVAILABLE` */
  services(): Promise<string[]>;
  readonly closed: boolean;
}

/** What this process did and knows. */
export interface RegistryStats {
  readonly registrations: number;
  readonly watches: number;
  readonly heartbeats: number;
  readonly failedHeartbeats: number;
  /** Registered again, since the registry had forgotten the instance. */
  readonly reregistrations: number;
  readonly callbackErrors: number;
  /** The instances of each service that is known here, and whether that is stale. */
  readonly services: Readonly<Record<string, { readonly instances: number; readonly stale: boolean }>>;
}

/** The events of a registry. */
export interface RegistryEvents {
  /** A lease may have ended, since the registry cannot be reached. */
  lost: [registration: Registration];
  /** An instance that the registry had forgotten is registered again. */
  reregistered: [registration: Registration];
  /** Another process registered under the same id. */
  replaced: [registration: Registration];
  /** What is known of a service changed. */
  change: [snapshot: ServiceSnapshot];
}

/**
 * Where instances register themselves and are looked up.
 *
 * An instance is renewed every heartbeat, and gone when its lease ends. A registry that forgets it, after a loss of its data,
 * a failover or a stall of this process, has it back within one heartbeat. Consumers keep what they know while the registry
 * is away, and do not believe an empty answer from one that lost its data.
 */
export interface ServiceRegistry
  extends ServiceDiscovery, Pick<IsolatedEmitter<RegistryEvents>, 'on' | 'once' | 'off' | 'listenerCount'> {
  /** Resolves once the registry has it. @throws `INVALID_OPTION`, `REGISTRY_UNAVAILABLE`, `REGISTRY_CLOSED` */
  register(instance: InstanceInit): Promise<Registration>;
  stats(): RegistryStats;
  healthIndicator(): HealthIndicator;
}
