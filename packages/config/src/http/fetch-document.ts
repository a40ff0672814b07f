import { isIPv4, isIPv6 } from 'node:net';
import { InvalidOptionError, type Clock } from '@xiaoke/core';
import { codeOf } from '../environment.ts';
import { MAX_BYTES } from '../parse/parse-document.ts';

/** Why a document could not be had; `code` is stable and safe to publish. */
export class RemoteProblem extends Error {
  readonly code: string;
  /** How long the server asks to be left alone, in milliseconds. */
  readonly retryAfter: number | undefined;

  constructor(code: string, retryAfter?: number) {
    super(code);
    this.code = code;
    this.retryAfter = retryAfter;
  }
}

/** What is known of the copy we have, for a conditional request. */
export interface Validators {
  readonly etag?: string;
  readonly lastModified?: string;
}

/** A document, or the word that ours is still the newest. */
export type Fetched =
  | { readonly unchanged: true }
  | {
      readonly unchanged: false;
      readonly bytes: Uint8Array;
      readonly contentType: string | null;
      readonly validators: Validators;
    };

/** One request. */
export interface DocumentRequest {
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly validators: Validators;
  readonly timeout: number;
  readonly signal: AbortSignal;
  readonly clock: Clock;
}

const MAX_REDIRECTS = 5;
const RETRY_AFTER_MAX = 3_600_000;

/** Checks where the remote source is. */
export function checkRemoteUrl(url: string | URL): URL {
  const parsed = URL.canParse(String(url)) ? new URL(String(url)) : undefined;
  if (parsed === undefined || !['http:', 'https:'].includes(parsed.protocol)) {
    throw new InvalidOptionError('url', 'must be an http:// or https:// URL');
  }
  if (parsed.username !== '' || parsed.password !== '') {
    throw new InvalidOptionError('url', 'must not hold a user or password; use "headers"');
  }
  if (isLinkLocal(parsed.hostname)) {
    throw new InvalidOptionError(
      'url',
      'must not be a link-local address, where cloud credentials are served',
    );
  }
  return parsed;
}

function isLinkLocal(hostname: string): boolean {
  const host = hostname.replace(/^\[|\]$/g, '').toLowerCase();
  if (isIPv4(host)) return host.startsWith('169.254.');
  return (
    isIPv6(host) && (/^fe[89ab]/.test(host) || host.includes('169.254.') || host.startsWith('::ffff:a9fe'))
  );
}

/**
 * Asks once, following redirects on the same origin only: our headers are for nobody else.
 *
 * @throws RemoteProblem
 */
export async function fetchDocument(request: DocumentRequest): Promise<Fetched> {
  const { clock, timeout, signal } = request;
  const limit = new AbortController();
  const timer = clock.setTimeout(() => limit.abort(new RemoteProblem('TIMEOUT')), timeout).unref();
  try {
    return await follow(request, AbortSignal.any([signal, limit.signal]));
  } catch (error) {
    if (error instanceof RemoteProblem) throw error;
    if (limit.signal.aborted) throw new RemoteProblem('TIMEOUT');
    const cause: unknown = error instanceof Error ? error.cause : undefined;
    throw new RemoteProblem(signal.aborted ? 'ABORTED' : codeOf(cause));
  } finally {
    timer.cancel();
  }
}

async function follow(request: DocumentRequest, signal: AbortSignal): Promise<Fetched> {
  let { url } = request;
  for (let hop = 0; hop <= MAX_REDIRECTS; hop += 1) {
    const headers = { accept: '*/*', ...request.headers, ...conditions(request.validators) };
    const response = await fetch(url.href, { headers, redirect: 'manual', signal });
    const location = response.headers.get('location');
    if (response.status < 300 || response.status > 399 || response.status === 304) {
      return await readResponse(response, request);
    }
    await response.body?.cancel();
    if (location === null || !URL.canParse(location, url.href)) throw new RemoteProblem('BAD_REDIRECT');
    const next = new URL(location, url);
    if (next.origin !== request.url.origin) throw new RemoteProblem('REDIRECT_REFUSED');
    url = next;
  }
  throw new RemoteProblem('TOO_MANY_REDIRECTS');
}

function conditions(validators: Validators): Record<string, string> {
  const headers: Record<string, string> = {};
  if (validators.etag !== undefined) headers['if-none-match'] = validators.etag;
  if (validators.lastModified !== undefined) headers['if-modified-since'] = validators.lastModified;
  return headers;
}

async function readResponse(response: Response, request: DocumentRequest): Promise<Fetched> {
  const { status, headers } = response;
  if (status === 304) {
    if (Object.keys(request.validators).length === 0) throw new RemoteProblem('HTTP_304_UNASKED');
    return { unchanged: true };
  }
  if (status < 200 || status > 299) {
    await response.body?.cancel();
    throw new RemoteProblem(`HTTP_${status}`, retryAfter(headers.get('retry-after'), request.clock));
  }
  const [etag, lastModified] = [headers.get('etag'), headers.get('last-modified')];
  const bytes = await readBody(response);
  const validators = {
    ...(etag === null ? {} : { etag }),
    ...(lastModified === null ? {} : { lastModified }),
  };
  return { unchanged: false, bytes, contentType: headers.get('content-type'), validators };
}

/** Reads the body, counted as it is unpacked, so that a small compressed answer cannot become a large one. */
async function readBody(response: Response): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.byteLength;
    if (size > MAX_BYTES) throw new RemoteProblem('BODY_TOO_LARGE');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** `Retry-After` in seconds or as a date, at most an hour. */
function retryAfter(value: string | null, clock: Clock): number | undefined {
  if (value === null) return undefined;
  const wait = /^\d+$/.test(value.trim()) ? Number(value) * 1_000 : Date.parse(value) - clock.now();
  return Number.isFinite(wait) && wait > 0 ? Math.min(wait, RETRY_AFTER_MAX) : undefined;
}
