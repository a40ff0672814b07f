import { Resolver } from 'node:dns/promises';
import { InvalidOptionError } from '@xiaoke/core';
import type { CheckOutcome } from '../check-result.ts';
import type { CheckContext, HealthChecker } from '../checker.ts';

/** How a name is asked for. */
export interface DnsCheckerOptions {
  /** Servers to ask, with an optional port. @default those of the system */
  readonly servers?: readonly string[];
  /** @default 'A' */
  readonly recordType?: 'A' | 'AAAA' | 'CNAME' | 'MX' | 'SRV' | 'TXT';
}

/**
 * Looks whether a name resolves. It asks the servers itself: `dns.lookup` occupies a thread of the pool that file access
 * needs too, and cannot be cancelled.
 */
export class DnsHealthChecker implements HealthChecker {
  readonly name: string;
  readonly kind = 'dependency';
  readonly #host: string;
  readonly #options: DnsCheckerOptions;

  constructor(host: string, options?: DnsCheckerOptions);
  constructor(name: string, host: string, options?: DnsCheckerOptions);
  constructor(...args: readonly unknown[]) {
    const [name, host, options] = typeof args[1] === 'string' ? args : ['dns', ...args];
    if (typeof host !== 'string' || host === '') throw new InvalidOptionError('host', 'must be a host name');
    this.name = name as string;
    this.#host = host;
    this.#options = options ?? {};
    checkOptions(this.#options);
  }

  async check({ signal, timeoutMs, phase }: CheckContext): Promise<CheckOutcome> {
    const resolver = new Resolver({ timeout: timeoutMs, tries: 1 });
    if (this.#options.servers) resolver.setServers(this.#options.servers);
    const cancel = (): void => resolver.cancel();
    signal.addEventListener('abort', cancel, { once: true });
    try {
      phase('resolve');
      const records = await resolver.resolve(this.#host, this.#options.recordType ?? 'A');
      const count = Array.isArray(records) ? records.length : 1;
      return count > 0
        ? { status: 'healthy', observed: { records: count } }
        : { status: 'unhealthy', code: 'NO_RECORD' };
    } catch (error) {
      const code: unknown = error instanceof Error && 'code' in error ? error.code : undefined;
      return {
        status: 'unhealthy',
        code: code === 'ENOTFOUND' || code === 'ENODATA' ? 'NO_RECORD' : 'CONNECT',
      };
    } finally {
      signal.removeEventListener('abort', cancel);
    }
  }
}

const TYPES: readonly unknown[] = ['A', 'AAAA', 'CNAME', 'MX', 'SRV', 'TXT', undefined];

function checkOptions({ servers, recordType }: DnsCheckerOptions): void {
  if (!TYPES.includes(recordType)) throw new InvalidOptionError('recordType', 'must be a type of record');
  if (servers === undefined) return;
  try {
    new Resolver().setServers(servers);
  } catch (error) {
    throw new InvalidOptionError('servers', 'must be addresses, with an optional port', { cause: error });
  }
}
