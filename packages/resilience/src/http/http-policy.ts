import type { Clock, Duration, Random } from '@xiaoke/core';
import type { CircuitBreakerDefinition, CircuitBreakerOptions } from '../breaker/breaker-options.ts';
import { circuitBreaker } from '../breaker/circuit-breaker.ts';
import { bulkhead, type BulkheadDefinition } from '../bulkhead/bulkhead.ts';
import type { Policy } from '../engine/policy.ts';
import { partition, type PartitionPolicy } from '../flow/partition.ts';
import { checkObject, within } from '../options.ts';
import { drainResponse } from './response-body.ts';
import { pipeline } from '../pipeline/pipeline.ts';
import { retry } from '../retry/retry.ts';
import type { RetryDefinition, RetryOptions } from '../retry/retry-options.ts';
import { isRetryable } from '../retry/retryable.ts';
import { timeout } from '../timeout/timeout.ts';

/** Options of {@link httpPolicy}. `false` leaves a part out. */
export interface HttpPolicyOptions {
  readonly name?: string | undefined;
  /** Of a request with all its attempts. @default '30s' */
  readonly totalTimeout?: Duration | false | undefined;
  /** Of each attempt. @default '10s' */
  readonly timeout?: Duration | false | undefined;
  /** @default 3 attempts, 200 ms to 5 s with full jitter, a budget of 10 % per authority */
  readonly retry?: RetryDefinition | false | undefined;
  /** Per authority. @default half of 20 calls in 10 s */
  readonly circuitBreaker?: CircuitBreakerDefinition | false | undefined;
  /** Per authority. @default none */
  readonly bulkhead?: BulkheadDefinition | false | undefined;
  /** Statuses worth another attempt. @default 408, 429, 500, 502, 503, 504 */
  readonly retryStatuses?: readonly number[] | undefined;
  /** Authorities that are kept apart at most. @default 1000 */
  readonly maxAuthorities?: number | undefined;
  readonly clock?: Clock | undefined;
  readonly random?: Random | undefined;
}

const OPTION_NAMES = [
  'name',
  'totalTimeout',
  'timeout',
  'retry',
  'circuitBreaker',
  'bulkhead',
  'retryStatuses',
  'maxAuthorities',
  'clock',
  'random',
];
const RETRY_STATUSES = [408, 429, 500, 502, 503, 504];

/**
 * The policies that HTTP requests need, one set per authority (the `key` of a call). Operations resolve to something with a
 * `status`; those that may not be repeated say `idempotent: false`. `resilientFetch` is built on it.
 *
 * @throws InvalidOptionError for a bad option
 */
export function httpPolicy(options: HttpPolicyOptions = {}): PartitionPolicy<never> {
  checkObject('', options, OPTION_NAMES);
  const { name = 'http', maxAuthorities } = options;
  // Made once and thrown away: a bad option is refused now, not at the first request.
  policyFor('check', options);
  return partition((authority) => policyFor(`${name}:${authority}`, options), {
    name,
    max: maxAuthorities,
  });
}

function policyFor(name: string, options: HttpPolicyOptions): Policy {
  const { clock, random, retryStatuses = RETRY_STATUSES } = options;
  const common = { name, clock };
  const parts: Policy[] = [];
  const { totalTimeout = '30s', timeout: perAttempt = '10s' } = options;
  if (totalTimeout !== false) parts.push(within('totalTimeout', () => timeout(totalTimeout, common)));
  if (options.retry !== false) {
    const retryOptions: RetryOptions = {
      baseDelay: 200,
      maxDelay: '5s',
      budget: { ratio: 0.1 },
      ...options.retry,
      ...common,
      random,
      retryIf: isRetryable,
      retryIfResult: (result) => retryStatuses.includes(statusOf(result)),
      disposeResult: drainResponse,
    };
    parts.push(within('retry', () => retry(retryOptions)));
  }
  if (options.circuitBreaker !== false) {
    const breakerOptions: CircuitBreakerOptions = {
      ...options.circuitBreaker,
      ...common,
      random,
      failureIfResult: (result) => statusOf(result) >= 500,
    };
    parts.push(within('circuitBreaker', () => circuitBreaker(breakerOptions)));
  }
  const { bulkhead: limits = false } = options;
  if (limits !== false) parts.push(within('bulkhead', () => bulkhead({ ...limits, ...common })));
  if (perAttempt !== false) parts.push(within('timeout', () => timeout(perAttempt, common)));
  return pipeline({ name }, ...parts) as Policy;
}

function statusOf(result: unknown): number {
  if (typeof result !== 'object' || result === null || !('status' in result)) return 0;
  return typeof result.status === 'number' ? result.status : 0;
}
