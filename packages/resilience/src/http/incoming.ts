import { withDeadline, type DeadlineOptions } from '../timeout/deadline.ts';

/** Headers of a request, as Node or fetch gives them. */
export type IncomingHeaders = Headers | Readonly<Record<string, string | readonly string[] | undefined>>;

/** How deadlines travel: milliseconds left, so that the clocks of the machines need not agree. */
export const DEADLINE_HEADER = 'x-request-deadline-ms';
/** How an attempt's number travels, so that only one layer of a chain retries. */
export const ATTEMPT_HEADER = 'x-retry-attempt';

// What no sensible caller waits for is a mistake in the header.
const LONGEST = 24 * 3_600_000;

/**
 * Serves a request inside the deadline its caller sent (`x-request-deadline-ms`, or `grpc-timeout`), and remembers which
 * attempt of the caller it is: from the second on, retries made here are left to the caller. Without those headers `fn` just
 * runs, inside `options.atMost` if that is given.
 *
 * @example
 * ```ts run
 * import { remainingMs, withIncoming } from '@xiaoke/resilience';
 * withIncoming({ 'x-request-deadline-ms': '500' }, () => console.log(remainingMs() <= 500)); // => true
 * ```
 */
export function withIncoming<T>(
  headers: IncomingHeaders,
  fn: () => T,
  options: Pick<DeadlineOptions, 'clock'> & { readonly atMost?: number | undefined } = {},
): T {
  const { clock, atMost = Infinity } = options;
  const sent = deadlineFrom(headers);
  const attempt = attemptFrom(headers);
  if (sent === undefined && attempt === 1 && atMost === Infinity) return fn();
  return withDeadline(Math.min(sent ?? Infinity, atMost), fn, { clock, attempt });
}

function deadlineFrom(headers: IncomingHeaders): number | undefined {
  const own = headerOf(headers, DEADLINE_HEADER);
  if (own !== undefined && /^\d{1,9}$/.test(own)) return Math.min(Number(own), LONGEST);
  return parseGrpcTimeout(headerOf(headers, 'grpc-timeout'));
}

const GRPC_UNITS: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1_000,
  m: 1,
  u: 0.001,
  n: 0.000001,
};

function parseGrpcTimeout(value: string | undefined): number | undefined {
  const match = /^(\d{1,8})([HMSmun])$/.exec(value ?? '');
  const unit = GRPC_UNITS[match?.[2] ?? ''];
  return unit === undefined ? undefined : Math.min(Number(match?.[1]) * unit, LONGEST);
}

function attemptFrom(headers: IncomingHeaders): number {
  const value = headerOf(headers, ATTEMPT_HEADER);
  return value !== undefined && /^\d{1,3}$/.test(value) ? Math.max(1, Number(value)) : 1;
}

function headerOf(headers: IncomingHeaders, name: string): string | undefined {
  if (headers instanceof Headers) return headers.get(name) ?? undefined;
  const value = headers[name];
  return typeof value === 'string' ? value : value?.[0];
}
