import { MetricsError } from '../../errors.ts';
import { checkEndpoint, post } from '../../push/post.ts';

/** How an HTTP sink is reached. */
export interface HttpSinkOptions {
  readonly headers?: Readonly<Record<string, string>>;
  /** Names the sink in metrics and logs. @default the kind of sink */
  readonly name?: string;
}

/** Refuses what is no http(s) URL; the URL itself is never repeated, since it may hold a token. */
export function checkUrl(url: string): string {
  checkEndpoint(url);
  return url;
}

/** Posts JSON; `user:password@` becomes a header. An answer outside 2xx is an error without the URL. */
export async function postJson(
  url: string,
  body: unknown,
  options: { readonly headers?: Readonly<Record<string, string>> | undefined; readonly signal: AbortSignal },
): Promise<unknown> {
  const endpoint = checkEndpoint(url, { 'content-type': 'application/json', ...options.headers });
  const { status, body: text } = await post(
    { method: 'POST', ...endpoint, body: JSON.stringify(body) },
    options.signal,
  );
  if (status < 200 || status > 299) {
    throw new MetricsError('PUSH_FAILED', `the receiver answered ${status}`, { details: { status } });
  }
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
