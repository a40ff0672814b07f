import { InvalidOptionError } from '@xiaoke/core';
import type { CheckOutcome } from '../check-result.ts';
import type { CheckContext, HealthChecker } from '../checker.ts';

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
  /** Whether redirects are followed; otherwise one is `REDIRECTED`, since a login page is no health. @default false */
  readonly followRedirects?: boolean;
  /** @default the global fetch */
  readonly fetch?: typeof fetch;
}

/** Asks an HTTP endpoint. The deadline covers the body too, and every answer is read or cancelled. */
export class HttpHealthChecker implements HealthChecker {
  readonly kind = 'dependency';
  readonly #url: URL;
  readonly #options: HttpCheckerOptions;
  readonly #expected: (status: number) => boolean;

  constructor(url: string | URL, options: HttpCheckerOptions = {}) {
    this.#url = parseUrl(url);
    this.#options = options;
    this.#expected = expectation(options.expectedStatus);
  }

  async check({ signal, phase }: CheckContext): Promise<CheckOutcome> {
    const { method = 'GET', headers = {}, body, followRedirects = false, fetch: ask = fetch } = this.#options;
    phase('connect');
    const init = {
      method,
      headers: { ...headers },
      redirect: followRedirects ? 'follow' : 'manual',
      signal,
    } as const;
    const response = await ask(this.#url, body === undefined ? init : { ...init, body: body as string });
    phase('body');
    const outcome = await this.#judge(response);
    return { ...outcome, observed: { httpStatus: response.status } };
  }

  async #judge(response: Response): Promise<CheckOutcome> {
    try {
      if (!this.#expected(response.status)) {
        const redirected = response.status >= 300 && response.status < 400;
        return { status: 'unhealthy', code: redirected ? 'REDIRECTED' : 'UNEXPECTED_STATUS' };
      }
      if (this.#options.expectedBody === undefined) return { status: 'healthy' };
      const text = await readText(response, this.#options.maxBodyBytes ?? 65_536);
      if (text === undefined) return { status: 'unhealthy', code: 'BODY_TOO_LARGE' };
      return this.#options.expectedBody(text)
        ? { status: 'healthy' }
        : { status: 'unhealthy', code: 'UNEXPECTED_BODY' };
    } finally {
      // A body that nobody reads keeps its socket.
      if (!response.bodyUsed) await response.body?.cancel().catch(() => {});
    }
  }
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

function expectation(expected: HttpCheckerOptions['expectedStatus']): (status: number) => boolean {
  if (expected === undefined) return (status) => status >= 200 && status < 300;
  if (typeof expected === 'function') return expected;
  const statuses = new Set(Array.isArray(expected) ? (expected as readonly number[]) : [expected as number]);
  const valid = [...statuses].every((status) => Number.isInteger(status) && status >= 100 && status <= 599);
  if (statuses.size === 0 || !valid)
    throw new InvalidOptionError('expectedStatus', 'must be HTTP statuses or a function');
  return (status) => statuses.has(status);
}
