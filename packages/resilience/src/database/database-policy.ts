import { TimeoutError, type Clock, type Duration, type Random } from '@xiaoke/core';
import type { CircuitBreakerDefinition, CircuitBreakerOptions } from '../breaker/breaker-options.ts';
import { circuitBreaker } from '../breaker/circuit-breaker.ts';
import type { Policy } from '../engine/policy.ts';
import { checkChoice, checkObject, within } from '../options.ts';
import { pipeline, type Pipeline } from '../pipeline/pipeline.ts';
import { retry } from '../retry/retry.ts';
import type { RetryDefinition, RetryOptions } from '../retry/retry-options.ts';
import { timeout } from '../timeout/timeout.ts';
import { classifyDatabaseError, retryDatabaseIf, type DatabaseDialect } from './transient-errors.ts';

/** Options of {@link databasePolicy}. */
export interface DatabasePolicyOptions {
  readonly dialect: DatabaseDialect;
  readonly name?: string | undefined;
  /** @default 3 attempts, 20 ms to 1 s with full jitter */
  readonly retry?: RetryDefinition | undefined;
  /** Counts trouble of the server and the network, not deadlocks or bad statements. */
  readonly circuitBreaker?: CircuitBreakerDefinition | false | undefined;
  /** Of each attempt; `false` if the driver has one. @default '10s' */
  readonly timeout?: Duration | false | undefined;
  readonly clock?: Clock | undefined;
  readonly random?: Random | undefined;
}

const DIALECTS = ['postgres', 'mysql', 'mongodb', 'redis'] as const;

/**
 * The policies that a database needs. Run whole transactions through it, or single statements: what the server certainly
 * undid (deadlock, serialization failure) is run again; after a broken connection, when nobody knows whether a statement was
 * done, only calls that say `idempotent: true` are.
 *
 * @throws InvalidOptionError for a bad option
 * @example
 * ```ts run
 * import { databasePolicy } from '@xiaoke/resilience';
 * const database = databasePolicy({ dialect: 'postgres' });
 * let runs = 0;
 * const result = await database.execute(async () => {
 *   runs += 1;
 *   if (runs === 1) throw Object.assign(new Error('deadlock detected'), { code: '40P01' });
 *   return 'committed';
 * });
 * console.log(result, runs); // => committed 2
 * ```
 */
export function databasePolicy(options: DatabasePolicyOptions): Pipeline {
  checkObject('', options, ['dialect', 'name', 'retry', 'circuitBreaker', 'timeout', 'clock', 'random']);
  const dialect = checkChoice('dialect', options.dialect, DIALECTS);
  const { name = dialect, clock, random } = options;
  const common = { name, clock };
  const retryOptions: RetryOptions = {
    baseDelay: 20,
    maxDelay: '1s',
    ...options.retry,
    ...common,
    random,
    retryIf: retryDatabaseIf(dialect),
  };
  const parts: Policy[] = [within('retry', () => retry(retryOptions))];
  if (options.circuitBreaker !== false) {
    const breakerOptions: CircuitBreakerOptions = {
      ...options.circuitBreaker,
      ...common,
      random,
      failureIf: (error) => isServerTrouble(dialect, error),
    };
    parts.push(within('circuitBreaker', () => circuitBreaker(breakerOptions)));
  }
  const { timeout: perAttempt = '10s' } = options;
  if (perAttempt !== false) parts.push(within('timeout', () => timeout(perAttempt, common)));
  return pipeline<readonly Policy[]>({ name }, ...parts);
}

function isServerTrouble(dialect: DatabaseDialect, error: unknown): boolean {
  if (error instanceof TimeoutError) return true;
  const kind = classifyDatabaseError(dialect, error);
  return kind === 'unknown-outcome' || kind === 'unavailable';
}
