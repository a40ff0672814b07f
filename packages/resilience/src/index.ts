/**
 * Retries that cannot storm and circuit breakers that cannot stick, on p-retry and opossum.
 *
 * - **policy**: something a call goes through; **pipeline**: several as one, outermost first.
 * - **attempt**: one run of the operation; **call**: all attempts of one `execute`.
 * - **budget**: what bounds the retries and hedges of all calls together.
 * - **circuit**: closed (calls pass), open (refused), half-open (**probes** find out), isolated (held open by hand).
 * - **rejection**: a call refused by a policy, so that the operation did not run.
 *
 * @module
 */
export {
  BulkheadFullError,
  CircuitOpenError,
  DeadlineExceededError,
  ManagerClosedError,
  OverloadError,
  RateLimitedError,
  RejectedError,
  UnknownPolicyError,
  type RejectionCode,
  type RejectionInfo,
} from './errors.ts';
export {
  contextKey,
  type CallPriority,
  type ContextKey,
  type ExecuteOptions,
  type Operation,
  type OperationContext,
} from './engine/context.ts';
export type { CallCounts } from './engine/call-meter.ts';
export type { CallMessage, RetryMessage, TransitionMessage } from './engine/channels.ts';
export type {
  Configurable,
  Listenable,
  Policy,
  PolicyKind,
  PolicyStats,
  WrapOptions,
} from './engine/policy.ts';
export { retry, type RetryEvents, type RetryPolicy } from './retry/retry.ts';
export type { RetryDecision, RetryDefinition, RetryOptions } from './retry/retry-options.ts';
export type { RetryEvent } from './retry/retry-run.ts';
export type { RetryStats } from './retry/retry-stats.ts';
export type { BackoffOptions, BackoffStrategy, Jitter } from './retry/backoff.ts';
export {
  retryBudget,
  type BudgetedCall,
  type ConcurrencyBudgetOptions,
  type RatioBudgetOptions,
  type RetryBudget,
  type RetryBudgetOptions,
  type TokenBudgetOptions,
} from './retry/budget.ts';
export { attemptInfo, type AttemptInfo, type GiveUpReason } from './retry/attempt-info.ts';
export { isRetryable } from './retry/retryable.ts';
export {
  circuitBreaker,
  fromOpossum,
  type CircuitBreakerEvents,
  type CircuitBreakerPolicy,
} from './breaker/circuit-breaker.ts';
export type {
  CircuitBreakerDefinition,
  CircuitBreakerOptions,
  OpenForOptions,
} from './breaker/breaker-options.ts';
export type {
  CircuitBreakerStats,
  CircuitState,
  CircuitTransition,
  TransitionReason,
} from './breaker/breaker-stats.ts';
export type { OpossumLike } from './breaker/opossum-like.ts';
export type {
  SharedCircuitMember,
  SharedCircuitMembership,
  SharedCircuits,
} from './breaker/shared-circuits.ts';
export {
  timeout,
  type TimeoutEvents,
  type TimeoutOptions,
  type TimeoutPolicy,
  type TimeoutStats,
} from './timeout/timeout.ts';
export { remainingMs, withDeadline, type DeadlineOptions } from './timeout/deadline.ts';
export {
  bulkhead,
  type BulkheadDefinition,
  type BulkheadOptions,
  type BulkheadPolicy,
  type BulkheadStats,
} from './bulkhead/bulkhead.ts';
export type { QueueOrder } from './bulkhead/wait-queue.ts';
export {
  rateLimit,
  type RateLimitDefinition,
  type RateLimitEvents,
  type RateLimitOptions,
  type RateLimitPolicy,
  type RateLimitStats,
} from './rate-limit/rate-limit.ts';
export type { RateLimitStore } from './rate-limit/rate-limit-store.ts';
export type { Rate, RateDecision } from './rate-limit/gcra.ts';
export {
  fallback,
  fallbackWhen,
  type FallbackEvents,
  type FallbackHandler,
  type FallbackOptions,
  type FallbackPolicy,
  type FallbackStats,
  type FallbackStep,
} from './flow/fallback.ts';
export {
  hedge,
  type HedgeAfter,
  type HedgeDefinition,
  type HedgeOptions,
  type HedgePolicy,
  type HedgeStats,
} from './flow/hedge.ts';
export { collapse, type CollapseOptions, type CollapsePolicy, type CollapseStats } from './flow/collapse.ts';
export {
  pipeline,
  type AlternativeOf,
  type Pipeline,
  type PipelineOptions,
  type PipelineStats,
} from './pipeline/pipeline.ts';
export type { LintWarning } from './pipeline/lint.ts';
export {
  createResilienceManager,
  getResilienceManager,
  type ResilienceEvents,
  type ResilienceManager,
  type ResilienceManagerOptions,
  type ResilienceStats,
} from './manager/resilience-manager.ts';
export type { PolicyDefinition } from './manager/definition.ts';
export type { RetryAnalysis } from './analysis/analyze.ts';
export type { Finding } from './analysis/findings.ts';
export { protectedBy, retryable, type ProtectedByOptions } from './decorators.ts';
export {
  adaptiveConcurrency,
  type AdaptiveConcurrencyEvents,
  type AdaptiveConcurrencyOptions,
  type AdaptiveConcurrencyPolicy,
  type AdaptiveConcurrencyStats,
} from './adaptive/adaptive-concurrency.ts';
export type { LimitAlgorithmName } from './adaptive/limit-algorithms.ts';
export {
  adaptiveThrottle,
  type AdaptiveThrottleOptions,
  type AdaptiveThrottlePolicy,
  type AdaptiveThrottleStats,
} from './adaptive/adaptive-throttle.ts';
export {
  faultInjection,
  type FaultInjectionOptions,
  type FaultInjectionPolicy,
  type FaultInjectionStats,
} from './flow/fault-injection.ts';
export {
  partition,
  type PartitionOptions,
  type PartitionPolicy,
  type PartitionStats,
} from './flow/partition.ts';
export { httpPolicy, type HttpPolicyOptions } from './http/http-policy.ts';
export { withIncoming, type IncomingHeaders } from './http/incoming.ts';
export { resilientFetch, type ResilientFetch, type ResilientFetchOptions } from './http/resilient-fetch.ts';
export { databasePolicy, type DatabasePolicyOptions } from './database/database-policy.ts';
export {
  classifyDatabaseError,
  type DatabaseDialect,
  type DatabaseErrorKind,
} from './database/transient-errors.ts';
export {
  loadShedder,
  type LoadShedder,
  type LoadShedderOptions,
  type LoadShedderStats,
} from './shedder/load-shedder.ts';
export type {
  FastifyLike,
  FastifyReplyLike,
  HttpHandler,
  HttpMiddleware,
  HttpShedding,
  PriorityOf,
} from './shedder/http-shedding.ts';
export type { LoadSource, ProcessLoad } from './shedder/process-load.ts';
export {
  createRedisRateLimitStore,
  type RedisRateLimitStore,
  type RedisRateLimitStoreOptions,
} from './redis/redis-rate-limit-store.ts';
export {
  createSharedCircuits,
  type RedisSharedCircuits,
  type SharedCircuitsEvents,
  type SharedCircuitsOptions,
} from './redis/redis-shared-circuits.ts';
export { RedisUnavailableError } from './redis/redis-link.ts';
