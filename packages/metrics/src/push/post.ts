import { InvalidOptionError } from '@xiaoke/core';
import { MetricsError } from '../errors.ts';

/** A receiver: its address without credentials, and the headers that every request carries. */
export interface Endpoint {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** What is posted. */
export interface PostRequest {
  readonly method: 'POST' | 'PUT' | 'DELETE';
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Uint8Array | undefined;
}

/** What a receiver answered. */
export interface PostAnswer {
  readonly status: number;
  /** Milliseconds that it asks to be left alone. */
  readonly retryAfter: number | undefined;
  readonly body: string;
}

// An answer is read for its words alone.
const MAX_ANSWER = 4_096;

/**
 * Checks the address of a receiver. `user:password@` becomes an `Authorization` header; the address is never repeated in an
 * error, since it may hold a secret.
 */
export function checkEndpoint(url: unknown, headers: Readonly<Record<string, string>> = {}): Endpoint {
  let parsed: URL;
  try {
    parsed = new URL(String(url));
  } catch {
    throw new InvalidOptionError('url', 'must be an http or https URL');
  }
  if (!/^https?:$/.test(parsed.protocol)) throw new InvalidOptionError('url', 'must be an http or https URL');
  const own: Record<string, string> = {};
  if (parsed.username !== '' || parsed.password !== '') {
    const [user, password] = [parsed.username, parsed.password].map((part) => decodeURIComponent(part));
    own['authorization'] = `Basic ${Buffer.from(`${user ?? ''}:${password ?? ''}`).toString('base64')}`;
    parsed.username = '';
    parsed.password = '';
  }
  return { url: parsed.href, headers: { ...own, ...headers } };
}

/** Sends one request and reads the answer; rejects with `PUSH_FAILED` when there is none. */
export async function post(request: PostRequest, signal: AbortSignal): Promise<PostAnswer> {
  const { url, method, headers, body } = request;
  try {
    const response = await fetch(url, {
      method,
      headers: { ...headers },
      ...(body === undefined ? {} : { body: body as string }),
      redirect: 'manual',
      signal,
    });
    return {
      status: response.status,
      retryAfter: retryAfterOf(response.headers.get('retry-after')),
      body: await firstOf(response),
    };
  } catch (error) {
    const cause = error instanceof Error ? error.cause : undefined;
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
    const what = signal.aborted ? 'did not answer in time' : `could not be reached ${code}`.trim();
    throw new MetricsError('PUSH_FAILED', `the receiver ${what}`);
  }
}

async function firstOf(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    chunks.push(chunk);
    size += chunk.length;
    if (size >= MAX_ANSWER) break;
  }
  return Buffer.concat(chunks).toString('utf8', 0, MAX_ANSWER);
}

function retryAfterOf(header: string | null): number | undefined {
  if (header === null || !/^\d{1,6}$/.test(header)) return undefined;
  return Number(header) * 1_000;
}
