/**
 * Service discovery and client-side load balancing.
 *
 * Terms: an *instance* is one running copy of a *service*; a *registration* keeps it in a *registry* under a *lease* that a
 * *heartbeat* renews; a *watch* follows the instances of a service; a *suspect* is an instance that the registry misses but
 * may only have forgotten; a *balancer* *picks* an instance for each call and learns from how the call ends.
 *
 * @module
 */
export { createServiceRegistry } from './service-registry.ts';
export { createStaticRegistry, type StaticRegistry, type StaticServices } from './static-registry.ts';
export { createDnsRegistry, type DnsRegistryOptions } from './dns-registry.ts';
export type { ServiceRegistryOptions } from './options.ts';
export type {
  RegistryEvents,
  RegistryStats,
  ServiceDiscovery,
  ServiceRegistry,
  WatchOptions,
} from './registry.ts';
export type { Registration, RegistrationState } from './registration.ts';
export type { Instance, InstanceInit, InstanceStatus, InstanceUpdate } from './instance.ts';
export type { InstanceCriteria, InstanceFilter, ServiceSnapshot } from './snapshot.ts';
export type { ServiceWatch } from './service-watch.ts';
export { DISCOVERY_ERRORS, DiscoveryError, type DiscoveryErrorCode } from './errors.ts';
export { createBalancer } from './balancer/load-balancer.ts';
export type {
  BalancedInstance,
  Balancer,
  BalancerEvents,
  BalancerStats,
  CallContext,
  CallOptions,
  Lease,
  PickOptions,
} from './balancer/balancer.ts';
export type {
  BalancerOptions,
  BalancerPolicy,
  CallOutcome,
  LocalityOptions,
  OutlierOptions,
} from './balancer/options.ts';
export type { BalancerSource, GivenInstance, GivenInstances } from './balancer/source.ts';
