/**
 * What a server or a policy said about when to come back, in milliseconds from `now` (wall clock): `retryAfterMs` or
 * `delayMs` of an error, or the headers `retry-after-ms` and `Retry-After` (seconds or a date) of it or of its `response`.
 * `undefined` when nothing was said.
 */
export function retryAfterMs(source: unknown, now: number): number | undefined {
  if (typeof source !== 'object' || source === null) return undefined;
  const direct = positive(field(source, 'retryAfterMs')) ?? positive(field(source, 'delayMs'));
  if (direct !== undefined) return direct;
  const headers = field(source, 'headers') ?? field(field(source, 'response'), 'headers');
  const milliseconds = positive(headerOf(headers, 'retry-after-ms'));
  return milliseconds ?? parseRetryAfter(headerOf(headers, 'retry-after'), now);
}

/** Parses the value of a `Retry-After` header (RFC 9110, 10.2.3). A date that has passed is 0. */
export function parseRetryAfter(value: unknown, now: number): number | undefined {
  if (typeof value === 'number') return value >= 0 ? value * 1_000 : undefined;
  if (typeof value !== 'string' || value.trim() === '') return undefined;
  const seconds = Number(value);
  if (!Number.isNaN(seconds)) return seconds >= 0 ? seconds * 1_000 : undefined;
  const date = Date.parse(value);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}

/** Whether an error or a response says "not so fast" rather than "broken": 429, or 503 with a time to come back. */
export function isThrottle(source: unknown, now: number): boolean {
  const status =
    field(source, 'status') ?? field(source, 'statusCode') ?? field(field(source, 'response'), 'status');
  return status === 429 || (status === 503 && retryAfterMs(source, now) !== undefined);
}

function field(source: unknown, name: string): unknown {
  return typeof source === 'object' && source !== null ? Reflect.get(source, name) : undefined;
}

function headerOf(headers: unknown, name: string): unknown {
  if (headers instanceof Headers) return headers.get(name) ?? undefined;
  return field(headers, name);
}

function positive(value: unknown): number | undefined {
  const number = typeof value === 'string' && value.trim() !== '' ? Number(value) : value;
  return typeof number === 'number' && Number.isFinite(number) && number >= 0 ? number : undefined;
}
