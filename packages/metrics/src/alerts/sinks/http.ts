import { InvalidOptionError } from '@xiaoke/core';
import { MetricsError } from '../../errors.ts';

/** How an HTTP sink is reached. */
export interface HttpSinkOptions {
  readonly headers?: Readonly<Record<string, string>>;
  /** Names the sink in metrics and logs. @default the kind of sink */
  readonly name?: string;
}

/** Refuses what is no http(s) URL; the URL itself is never repeated, since it may hold a token. */
export function checkUrl(url: string, option = 'url'): string {
  try {
    if (/^https?:$/.test(new URL(url).protocol)) return url;
  } catch {
    // Refused below.
  }
  throw new InvalidOptionError(option, 'must be an http or https URL');
}

/** Posts JSON; an answer outside 2xx is an error without the URL. */
export async function postJson(
  url: string,
  body: unknown,
  options: { readonly headers?: Readonly<Record<string, string>> | undefined; readonly signal: AbortSignal },
): Promise<unknown> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...options.headers },
    body: JSON.stringify(body),
    signal: options.signal,
  }).catch((error: unknown) => {
    const code =
      error instanceof Error && error.cause instanceof Error && 'code' in error.cause ? error.cause.code : '';
    throw new MetricsError('PUSH_FAILED', `the receiver could not be reached ${String(code)}`.trim());
  });
  const text = await response.text();
  if (!response.ok) {
    throw new MetricsError('PUSH_FAILED', `the receiver answered ${response.status}`, {
      details: { status: response.status },
    });
  }
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
