import { Resolver } from 'node:dns/promises';
import {
  InvalidOptionError,
  silentLogger,
  systemClock,
  systemRandom,
  toMilliseconds,
  type Clock,
  type Duration,
  type Logger,
  type Random,
} from '@xiaoke/core';
import { DnsBackend, type DnsRecordType } from './dns/dns-backend.ts';
import { Lookup } from './lookup.ts';
import type { ServiceDiscovery, WatchOptions } from './registry.ts';
import type { ServiceWatch } from './service-watch.ts';
import type { InstanceFilter, ServiceSnapshot } from './snapshot.ts';

/** How instances are found in the DNS. */
export interface DnsRegistryOptions {
  /** `SRV` has ports and weights; with addresses, `port` has to be said. @default 'SRV' */
  readonly type?: DnsRecordType | undefined;
  /** With `A` and `AAAA`. */
  readonly port?: number | undefined;
  /** Of the URLs. @default 'http' */
  readonly scheme?: string | undefined;
  /** The name to ask for. @default the name of the service */
  readonly nameOf?: ((service: string) => string) | undefined;
  /** Servers to ask, with an optional port. @default those of the system */
  readonly servers?: readonly string[] | undefined;
  /** The longest pause between two looks; a shorter life of the records is honoured down to a second. @default '30s' */
  readonly refresh?: Duration | undefined;
  /** How long an answer is waited for. @default '2s' */
  readonly timeout?: Duration | undefined;
  /** How much longer instances are kept when most of at least three vanish at once. @default '30s' */
  readonly emptyProtection?: Duration | undefined;
  readonly logger?: Logger | undefined;
  readonly clock?: Clock | undefined;
  readonly random?: Random | undefined;
}

/** An answer with no records is doubted for as long as this, in milliseconds: a zone being reloaded has none either. */
const DOUBT = 10_000;

/**
 * A registry that looks services up in the DNS. Of `SRV` records those of the best priority are used, by their weights. While
 * no server answers, the last answer stands, with `stale: true`.
 *
 * @throws `INVALID_OPTION`
 *
 * @example
 * ```ts
 * import { createBalancer, createDnsRegistry } from '@xiaoke/health/discovery';
 * const dns = createDnsRegistry({ nameOf: (service) => `_http._tcp.${service}.internal` });
 * const balancer = createBalancer(dns, { service: 'scheduling' });
 * await balancer.close();
 * await dns.close();
 * ```
 */
export function createDnsRegistry(options: DnsRegistryOptions = {}): ServiceDiscovery {
  return new DnsRegistry(options);
}

class DnsRegistry implements ServiceDiscovery {
  readonly #lookup: Lookup;
  readonly #backend: DnsBackend;

  constructor(options: DnsRegistryOptions) {
    const { logger = silentLogger, clock = systemClock, random = systemRandom } = options;
    const backend = new DnsBackend(resolve(options));
    this.#backend = backend;
    this.#lookup = new Lookup({
      backend: async () => backend,
      clock,
      random,
      logger,
      repairMs: toMilliseconds(options.refresh ?? '30s', 'refresh', { min: 100 }),
      ttlMs: DOUBT,
      protectionMs: toMilliseconds(options.emptyProtection ?? '30s', 'emptyProtection'),
      own: () => [],
      onChange: () => {},
    });
  }

  get closed(): boolean {
    return this.#lookup.closed;
  }

  discover(service: string, filter?: InstanceFilter): Promise<ServiceSnapshot> {
    return this.#lookup.discover(service, filter);
  }

  watch(service: string, options: WatchOptions = {}): ServiceWatch {
    return this.#lookup.watch(service, options);
  }

  /** Those that were found: the DNS has no list of services. */
  async services(): Promise<string[]> {
    this.#lookup.refuseClosed();
    const found = this.#lookup.views.all().filter(({ size }) => size > 0);
    return found.map(({ service }) => service).toSorted();
  }

  async close(): Promise<void> {
    this.#lookup.close();
    this.#backend.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

function resolve(options: DnsRegistryOptions): ConstructorParameters<typeof DnsBackend>[0] {
  const { type = 'SRV', port, scheme = 'http', nameOf = (service: string) => service, servers } = options;
  if (!['SRV', 'A', 'AAAA'].includes(type)) throw new InvalidOptionError('type', 'must be SRV, A or AAAA');
  if (type !== 'SRV' && !(Number.isInteger(port) && Number(port) > 0 && Number(port) < 65_536))
    throw new InvalidOptionError('port', 'must be from 1 to 65535 where records have none');
  if (!/^[a-z][a-z0-9+.-]*$/.test(scheme)) throw new InvalidOptionError('scheme', 'must be one of a URL');
  if (typeof nameOf !== 'function') throw new InvalidOptionError('nameOf', 'must be a function');
  if (servers !== undefined) checkServers(servers);
  const timeoutMs = toMilliseconds(options.timeout ?? '2s', 'timeout', { min: 1 });
  return { type, port: port ?? 0, scheme, nameOf, servers, timeoutMs };
}

function checkServers(servers: readonly string[]): void {
  try {
    new Resolver().setServers(servers);
  } catch (error) {
    throw new InvalidOptionError('servers', 'must be addresses, with an optional port', { cause: error });
  }
}
