import { InvalidOptionError, toMilliseconds, type Duration } from '@xiaoke/core';
import type { CheckOutcome } from '../check-result.ts';
import type { CheckContext, HealthChecker } from '../checker.ts';
import { isNameBefore } from './naming.ts';
import { networkFailure } from './network-failure.ts';
import { CertificateWatch, type CertificateLimits } from './tls.ts';

/** How an endpoint is asked and what a good answer is. */
export interface HttpCheckerOptions {
  /** A status, several, or a test. @default any from 200 to 299 */
  readonly expectedStatus?: number | readonly number[] | ((status: number) => boolean);
  /** @default 'GET' */
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
  /** A test of the answer's text; without it the body is not read. */
  readonly expectedBody?: (text: string) => boolean;
  /** Bytes of a body that are read at most; a longer one is `BODY_TOO_LARGE`. @default 65536 */
  readonly maxBodyBytes?: number;
  /**
   * How many redirects are followed, `true` meaning five; one more is `TOO_MANY_REDIRECTS`. Without it a redirect is
   * `REDIRECTED`, since a login page is no health. Your headers are not sent to another origin.
   *
   * @default false
   */
  readonly followRedirects?: boolean | number;
  /** An answer that takes longer is `degraded`, code `SLOW`. */
  readonly degradedAfter?: Duration;
  /** Looks at the certificate too, about once an hour; `true` means the limits of {@link CertificateLimits}. */
  readonly certificate?: boolean | CertificateLimits;
  /** @default the global fetch */
  readonly fetch?: typeof fetch;
}

const REDIRECTS = 5;
const MAX_BODY = 65_536;

/** Asks an HTTP endpoint. The deadline covers the body too, and every answer is read or cancelled. */
export class HttpHealthChecker implements HealthChecker {
  readonly name: string;
  readonly kind = 'dependency';
  readonly #url: URL;
  readonly #options: HttpCheckerOptions;
  readonly #expected: (status: number) => boolean;
  readonly #redirects: number;
  readonly #degradedMs: number;
  readonly #certificate: CertificateWatch | undefined;

  constructor(url: string | URL, options?: HttpCheckerOptions);
  constructor(name: string, url: string | URL, options?: HttpCheckerOptions);
  constructor(...args: readonly unknown[]) {
    const named = isNameBefore(args[0], args[1]) && (typeof args[1] === 'string' || args[1] instanceof URL);
    const [name, url, given] = named ? args : ['http', ...args];
    const options = (given ?? {}) as HttpCheckerOptions;
    this.name = name as string;
    this.#url = parseUrl(url as string | URL);
    this.#options = options;
    this.#expected = expectation(options.expectedStatus);
    this.#redirects = redirectLimit(options.followRedirects);
    this.#degradedMs =
      options.degradedAfter === undefined ? Infinity : toMilliseconds(options.degradedAfter, 'degradedAfter');
    this.#certificate = certificateWatch(this.#url, options.certificate);
    bodyLimit(options.maxBodyBytes);
  }

  async check({ signal, phase }: CheckContext): Promise<CheckOutcome> {
    const start = performance.now();
    try {
      const { outcome, status } = await this.#ask(signal, phase);
      const observed = { httpStatus: status };
      if (outcome.status !== 'healthy') return { ...outcome, observed };
      const certificate = await this.#certificate?.look({ signal, phase });
      if (certificate !== undefined && certificate.status !== 'healthy') {
        return { ...certificate, observed: { ...observed, ...certificate.observed } };
      }
      return performance.now() - start > this.#degradedMs
        ? { status: 'degraded', code: 'SLOW', observed }
        : { status: 'healthy', observed: { ...observed, ...certificate?.observed } };
    } catch (error) {
      return networkFailure(error);
    }
  }

  async #ask(
    signal: AbortSignal,
    phase: CheckContext['phase'],
  ): Promise<{ readonly outcome: CheckOutcome; readonly status: number }> {
    let url = this.#url;
    for (let hop = 0; ; hop += 1) {
      phase('connect');
      const response = await this.#request(url, signal);
      const next = this.#redirects > 0 ? redirectOf(response, url) : undefined;
      if (next === undefined) {
        phase('body');
        return { outcome: await this.#judge(response), status: response.status };
      }
      await discard(response);
      if (hop >= this.#redirects)
        return { outcome: { status: 'unhealthy', code: 'TOO_MANY_REDIRECTS' }, status: response.status };
      url = next;
    }
  }

  async #request(url: URL, signal: AbortSignal): Promise<Response> {
    const { method = 'GET', headers = {}, body, fetch: ask = fetch } = this.#options;
    // What stands in the headers was meant for one server; a redirect may lead to somebody else's.
    const trusted = url.origin === this.#url.origin;
    const init = { method, headers: trusted ? { ...headers } : {}, redirect: 'manual', signal } as const;
    return await ask(url, body === undefined || !trusted ? init : { ...init, body: body as string });
  }

  async #judge(response: Response): Promise<CheckOutcome> {
    try {
      if (!this.#expected(response.status)) {
        const redirected = response.status >= 300 && response.status < 400;
        return { status: 'unhealthy', code: redirected ? 'REDIRECTED' : 'UNEXPECTED_STATUS' };
      }
      if (this.#options.expectedBody === undefined) return { status: 'healthy' };
      const text = await readText(response, bodyLimit(this.#options.maxBodyBytes));
      if (text === undefined) return { status: 'unhealthy', code: 'BODY_TOO_LARGE' };
      return this.#options.expectedBody(text)
        ? { status: 'healthy' }
        : { status: 'unhealthy', code: 'UNEXPECTED_BODY' };
    } finally {
      await discard(response);
    }
  }
}

/** A body that nobody reads keeps its socket. */
async function discard(response: Response): Promise<void> {
  if (!response.bodyUsed) await response.body?.cancel().catch(() => {});
}

function redirectOf(response: Response, from: URL): URL | undefined {
  if (response.status < 300 || response.status >= 400) return undefined;
  const location = response.headers.get('location');
  if (location === null || !URL.canParse(location, from.href)) return undefined;
  const next = new URL(location, from);
  return next.protocol === 'http:' || next.protocol === 'https:' ? next : undefined;
}

async function readText(response: Response, limit: number): Promise<string | undefined> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  const reader = response.body?.getReader();
  if (reader === undefined) return '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return Buffer.concat(parts).toString('utf8');
    bytes += value.byteLength;
    if (bytes > limit) {
      await reader.cancel().catch(() => {});
      return undefined;
    }
    parts.push(value);
  }
}

function parseUrl(url: string | URL): URL {
  // The URL may hold a password, so it is not repeated.
  if (!URL.canParse(String(url))) throw new InvalidOptionError('url', 'must be a URL');
  const parsed = new URL(String(url));
  if (parsed.protocol !== 'http:' && parsed.protocol !== 'https:') {
    throw new InvalidOptionError('url', 'must begin with http:// or https://');
  }
  return parsed;
}

function redirectLimit(follow: boolean | number = false): number {
  if (typeof follow === 'boolean') return follow ? REDIRECTS : 0;
  if (Number.isInteger(follow) && follow >= 0 && follow <= 20) return follow;
  throw new InvalidOptionError('followRedirects', 'must be true, false or a whole number up to 20');
}

function bodyLimit(limit = MAX_BODY): number {
  if (Number.isSafeInteger(limit) && limit > 0) return limit;
  throw new InvalidOptionError('maxBodyBytes', 'must be a whole number above 0');
}

function certificateWatch(
  url: URL,
  limits: HttpCheckerOptions['certificate'] = false,
): CertificateWatch | undefined {
  if (limits === false) return undefined;
  if (url.protocol !== 'https:') throw new InvalidOptionError('certificate', 'needs an https:// URL');
  const target = { host: url.hostname.replaceAll(/[[\]]/g, ''), port: Number(url.port || 443) };
  return new CertificateWatch(target, limits === true ? {} : limits);
}

function expectation(expected: HttpCheckerOptions['expectedStatus']): (status: number) => boolean {
  if (expected === undefined) return (status) => status >= 200 && status < 300;
  if (typeof expected === 'function') return expected;
  const statuses = new Set(Array.isArray(expected) ? (expected as readonly number[]) : [expected as number]);
  const valid = [...statuses].every((status) => Number.isInteger(status) && status >= 100 && status <= 599);
  if (statuses.size === 0 || !valid)
    throw new InvalidOptionError('expectedStatus', 'must be HTTP statuses or a function');
  return (status) => statuses.has(status);
}
