import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { InvalidOptionError, systemClock, toMilliseconds, type Clock, type Duration } from '@xiaoke/core';
import type { CheckOutcome } from '../check-result.ts';
import type { CheckContext, HealthChecker } from '../checker.ts';
import { networkFailure } from './network-failure.ts';

/** When a certificate that is about to end matters. */
export interface CertificateLimits {
  /** What is left of its life when it becomes degraded, code `TLS_EXPIRING`. @default '14d' */
  readonly degraded?: Duration;
  /** What is left of its life when it becomes unhealthy, code `TLS_EXPIRING`. @default '1d' */
  readonly unhealthy?: Duration;
  /** Certificates to trust instead of those of the system. */
  readonly ca?: ConnectionOptions['ca'];
  /** The name that the certificate must be for. @default the host */
  readonly serverName?: string;
  readonly clock?: Clock;
}

interface TlsTarget {
  readonly host: string;
  readonly port: number;
}

/** How long what was seen of a certificate stands: it changes once in weeks, and a handshake is dear. */
const STANDS_MS = 3_600_000;
const DAY = 24 * 3_600_000;

/** Looks at the certificate of a server, about once an hour while it is well. */
export class CertificateWatch {
  readonly #target: TlsTarget;
  readonly #limits: CertificateLimits;
  readonly #degradedMs: number;
  readonly #unhealthyMs: number;
  readonly #clock: Clock;
  #seen: { readonly validTo: number; readonly at: number } | undefined;

  constructor(target: TlsTarget, limits: CertificateLimits) {
    this.#target = target;
    this.#limits = limits;
    this.#clock = limits.clock ?? systemClock;
    this.#unhealthyMs = toMilliseconds(limits.unhealthy ?? '1d', 'certificate.unhealthy');
    this.#degradedMs = toMilliseconds(limits.degraded ?? '14d', 'certificate.degraded', {
      min: this.#unhealthyMs,
    });
  }

  async look({ signal, phase }: Pick<CheckContext, 'signal' | 'phase'>): Promise<CheckOutcome> {
    const seen = this.#seen;
    if (seen !== undefined && this.#clock.monotonic() - seen.at < STANDS_MS) return this.#judge(seen.validTo);
    phase('certificate');
    try {
      const validTo = await this.#handshake(signal);
      const outcome = this.#judge(validTo);
      // What is about to end is looked at again, so that its renewal is seen at once.
      this.#seen = outcome.status === 'healthy' ? { validTo, at: this.#clock.monotonic() } : undefined;
      return outcome;
    } catch (error) {
      return networkFailure(error);
    }
  }

  #judge(validTo: number): CheckOutcome {
    const left = validTo - this.#clock.now();
    const observed = { certificateDaysLeft: Math.floor(left / DAY) };
    if (left <= this.#unhealthyMs)
      return { status: 'unhealthy', code: left <= 0 ? 'TLS_EXPIRED' : 'TLS_EXPIRING', observed };
    return left <= this.#degradedMs
      ? { status: 'degraded', code: 'TLS_EXPIRING', observed }
      : { status: 'healthy', observed };
  }

  #handshake(signal: AbortSignal): Promise<number> {
    const { ca, serverName } = this.#limits;
    const { host, port } = this.#target;
    // An address is no server name.
    const name = serverName ?? (/^[\d.]+$|:/.test(host) ? undefined : host);
    return new Promise((resolve, reject) => {
      const options = { host, port, ...(name && { servername: name }), ...(ca === undefined ? {} : { ca }) };
      const socket: TLSSocket = connect(options, () => {
        const until = Date.parse(socket.getPeerCertificate().valid_to);
        socket.destroy();
        if (Number.isNaN(until)) reject(new Error('the server has no certificate'));
        else resolve(until);
      });
      const cut = (): void => void socket.destroy(new Error('the check was stopped'));
      signal.addEventListener('abort', cut, { once: true });
      socket.on('error', reject);
      socket.on('close', () => {
        signal.removeEventListener('abort', cut);
        reject(new Error('the connection was closed'));
      });
    });
  }
}

/** Looks whether a server's certificate is trusted, is for its name, and will be for a while. */
export class TlsHealthChecker implements HealthChecker {
  readonly name: string;
  readonly kind = 'dependency';
  readonly #watch: CertificateWatch;

  constructor(target: TlsTarget & CertificateLimits);
  constructor(name: string, target: TlsTarget & CertificateLimits);
  constructor(...args: readonly unknown[]) {
    const [name, target] = typeof args[0] === 'string' ? args : ['tls', args[0]];
    const { host, port, ...limits } = (target ?? {}) as TlsTarget & CertificateLimits;
    if (typeof host !== 'string' || host === '') throw new InvalidOptionError('host', 'must be a host name');
    if (!Number.isInteger(port) || port < 1 || port > 65_535)
      throw new InvalidOptionError('port', 'must be from 1 to 65535');
    this.name = name as string;
    this.#watch = new CertificateWatch({ host, port }, limits);
  }

  check(context: CheckContext): Promise<CheckOutcome> {
    return this.#watch.look(context);
  }
}
