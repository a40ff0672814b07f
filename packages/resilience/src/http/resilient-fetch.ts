import { currentDeadline } from '../timeout/deadline.ts';
import type { OperationContext } from '../engine/context.ts';
import type { PolicyStats } from '../engine/policy.ts';
import type { PartitionPolicy } from '../flow/partition.ts';
import { ATTEMPT_HEADER, DEADLINE_HEADER } from './incoming.ts';
import { httpPolicy, type HttpPolicyOptions } from './http-policy.ts';
import { bufferResponse, streamResponse } from './response-body.ts';

/** Options of {@link resilientFetch}. */
export interface ResilientFetchOptions extends HttpPolicyOptions {
  /** What sends the requests. @default the global fetch, looked up at each call */
  readonly fetch?: typeof globalThis.fetch | undefined;
  /**
   * `buffer`: the body is read as part of the attempt, so a body that breaks off is retried and one that drips is bounded by
   * the timeout. `stream`: the response is given as soon as its headers are there; what happens to the body is yours.
   * @default 'buffer'
   */
  readonly body?: 'buffer' | 'stream' | undefined;
}

/** A `fetch` that does not give up at once. */
export interface ResilientFetch {
  (input: string | URL | Request, init?: RequestInit): Promise<Response>;
  /** What the policies of each authority saw. */
  stats(): PolicyStats;
}

/**
 * `fetch` under the policies that HTTP needs: total timeout, retry of what may be repeated, a circuit per authority, a
 * timeout per attempt. Only idempotent methods and requests with an `Idempotency-Key` are retried, and only with a body that
 * can be sent again. `Retry-After` is heeded; responses that are given up are drained, so their sockets live on. It sends the
 * time left and the number of the attempt, for `withIncoming` at the other end. Like `fetch`, it resolves to the last
 * response whatever its status.
 *
 * @throws InvalidOptionError for a bad option
 */
export function resilientFetch(options: ResilientFetchOptions = {}): ResilientFetch {
  const { fetch: send, body = 'buffer', ...policyOptions } = options;
  const policies: PartitionPolicy<never> = httpPolicy(policyOptions);
  const call = async (input: string | URL | Request, init: RequestInit = {}): Promise<Response> => {
    const request = describe(input, init);
    const attempt = async (context: OperationContext): Promise<Response> => {
      const response = await (send ?? globalThis.fetch)(...withContext(input, init, context));
      return body === 'buffer'
        ? await bufferResponse(response)
        : streamResponse(response, request.signal, context.signal);
    };
    return await policies.execute(attempt, {
      key: request.authority,
      signal: request.signal,
      idempotent: request.repeatable,
    });
  };
  return Object.assign(call, { stats: () => policies.stats() });
}

function urlOf(input: string | URL | Request): URL {
  if (input instanceof Request) return new URL(input.url);
  return typeof input === 'string' ? new URL(input) : input;
}

interface RequestDescription {
  readonly authority: string;
  readonly signal: AbortSignal | undefined;
  /** Whether it may be sent twice. */
  readonly repeatable: boolean;
}

// RFC 9110, 9.2.2.
const IDEMPOTENT: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE', 'TRACE']);

function describe(input: string | URL | Request, init: RequestInit): RequestDescription {
  const request = input instanceof Request ? input : undefined;
  const method = (init.method ?? request?.method ?? 'GET').toUpperCase();
  const headers = new Headers(init.headers ?? request?.headers);
  const replayable = !(init.body instanceof ReadableStream) && !isAsyncIterable(init.body);
  return {
    authority: urlOf(input).host,
    signal: init.signal ?? request?.signal ?? undefined,
    repeatable: replayable && (IDEMPOTENT.has(method) || headers.has('idempotency-key')),
  };
}

function withContext(
  input: string | URL | Request,
  init: RequestInit,
  context: OperationContext,
): [string | URL | Request, RequestInit] {
  const request = input instanceof Request ? input : undefined;
  const headers = new Headers(init.headers ?? request?.headers);
  const remaining = context.remainingMs();
  if (remaining !== Infinity) headers.set(DEADLINE_HEADER, String(Math.floor(remaining)));
  const attempt = Math.max(context.attempt, currentDeadline()?.attempt ?? 1);
  if (attempt > 1) headers.set(ATTEMPT_HEADER, String(attempt));
  // A Request is used up by sending it; a clone can be sent again.
  return [request?.clone() ?? input, { ...init, headers, signal: context.signal }];
}

function isAsyncIterable(body: unknown): boolean {
  return typeof body === 'object' && body !== null && Symbol.asyncIterator in body;
}
