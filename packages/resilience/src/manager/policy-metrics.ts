import type { BoundCounter, BoundHistogram, MetricsSink } from '@xiaoke/core';
import type { CircuitBreakerStats, CircuitState } from '../breaker/breaker-stats.ts';
import type { CircuitBreakerPolicy } from '../breaker/circuit-breaker.ts';
import type { Policy } from '../engine/policy.ts';
import type { RetryPolicy } from '../retry/retry.ts';
import type { RetryStats } from '../retry/retry-stats.ts';

const STATES: readonly CircuitState[] = ['closed', 'open', 'half-open', 'isolated'];

/**
 * Reports policies to a metrics sink. Counters are brought up to date when they are scraped, from the statistics that are kept
 * anyway, so a call pays for one histogram at most.
 */
export class PolicyMetrics {
  readonly #instruments: ReturnType<typeof define>;
  readonly #retries = new Map<string, RetryPolicy>();
  readonly #breakers = new Map<string, CircuitBreakerPolicy>();
  readonly #reported = new Map<string, number>();

  /** @param signal ends the reports */
  constructor(sink: MetricsSink, signal: AbortSignal) {
    this.#instruments = define(sink, signal, () => this.#collect());
  }

  /** Reports this policy too. One that replaces another of the same name begins at zero, as it does itself. */
  add(policy: Policy<unknown>): void {
    const { name } = policy;
    if (isRetry(policy)) {
      this.#retries.set(name, policy);
      const delay = this.#instruments.retryDelay.with({ policy: name });
      policy.on('retry', ({ delayMs }) => delay.observe(delayMs / 1_000));
    } else if (isBreaker(policy)) {
      this.#breakers.set(name, policy);
      policy.on('transition', ({ to }) => this.#instruments.transitions.inc({ breaker: name, to }));
    }
  }

  /** Where the durations of the calls of a policy go. */
  duration(name: string): BoundHistogram {
    return this.#instruments.duration.with({ breaker: name });
  }

  #collect(): void {
    for (const [name, policy] of this.#retries) this.#collectRetry(name, policy.stats());
    for (const [name, breaker] of this.#breakers) this.#collectBreaker(name, breaker.stats());
  }

  #collectRetry(policy: string, stats: RetryStats): void {
    const { attempts, retryCalls } = this.#instruments;
    this.#raise(`attempts/${policy}/first`, attempts.with({ policy, attempt: 'first' }), stats.calls);
    this.#raise(
      `attempts/${policy}/retry`,
      attempts.with({ policy, attempt: 'retry' }),
      stats.attempts - stats.calls,
    );
    this.#raise(
      `retryCalls/${policy}/first_try`,
      retryCalls.with({ policy, outcome: 'first_try' }),
      stats.firstTry,
    );
    this.#raise(
      `retryCalls/${policy}/recovered`,
      retryCalls.with({ policy, outcome: 'recovered' }),
      stats.recovered,
    );
    this.#raise(
      `retryCalls/${policy}/exhausted`,
      retryCalls.with({ policy, outcome: 'exhausted' }),
      stats.exhausted,
    );
    this.#raise(
      `retryCalls/${policy}/aborted`,
      retryCalls.with({ policy, outcome: 'aborted' }),
      stats.aborted,
    );
  }

  #collectBreaker(breaker: string, stats: CircuitBreakerStats): void {
    const { state, breakerCalls } = this.#instruments;
    for (const each of STATES) state.set({ breaker, state: each }, each === stats.state ? 1 : 0);
    this.#raise(
      `breaker/${breaker}/success`,
      breakerCalls.with({ breaker, outcome: 'success' }),
      stats.succeeded,
    );
    this.#raise(
      `breaker/${breaker}/failure`,
      breakerCalls.with({ breaker, outcome: 'failure' }),
      stats.failed - stats.timedOut,
    );
    this.#raise(
      `breaker/${breaker}/timeout`,
      breakerCalls.with({ breaker, outcome: 'timeout' }),
      stats.timedOut,
    );
    this.#raise(
      `breaker/${breaker}/rejected`,
      breakerCalls.with({ breaker, outcome: 'rejected' }),
      stats.rejected,
    );
  }

  #raise(key: string, counter: BoundCounter, total: number): void {
    const grown = total - (this.#reported.get(key) ?? 0);
    if (grown > 0) counter.inc(grown);
    this.#reported.set(key, total);
  }
}

function define(sink: MetricsSink, signal: AbortSignal, collect: () => void) {
  return {
    attempts: sink.counter({
      name: 'xiaoke_retry_attempts_total',
      help: 'Attempts, the first of each call and those after it.',
      labels: { policy: String, attempt: ['first', 'retry'] },
    }),
    retryCalls: sink.counter({
      name: 'xiaoke_retry_calls_total',
      help: 'Calls through a retry, by how they ended.',
      labels: { policy: String, outcome: ['first_try', 'recovered', 'exhausted', 'aborted'] },
    }),
    retryDelay: sink.histogram({
      name: 'xiaoke_retry_delay_seconds',
      help: 'Waits before a further attempt.',
      labels: { policy: String },
    }),
    state: sink.gauge({
      name: 'xiaoke_circuit_breaker_state',
      help: '1 for the state that the circuit is in.',
      labels: { breaker: String, state: ['closed', 'open', 'half-open', 'isolated'] },
      collect,
      signal,
    }),
    breakerCalls: sink.counter({
      name: 'xiaoke_circuit_breaker_calls_total',
      help: 'Calls through a circuit, by how they ended.',
      labels: { breaker: String, outcome: ['success', 'failure', 'timeout', 'rejected', 'fallback'] },
    }),
    transitions: sink.counter({
      name: 'xiaoke_circuit_breaker_transitions_total',
      help: 'Changes of a circuit, by the state it went to.',
      labels: { breaker: String, to: ['closed', 'open', 'half-open', 'isolated'] },
    }),
    duration: sink.histogram({
      name: 'xiaoke_circuit_breaker_call_duration_seconds',
      help: 'Time of the calls through a named policy, with all their attempts.',
      labels: { breaker: String },
    }),
  };
}

function isRetry(policy: Policy<unknown>): policy is RetryPolicy {
  return policy.kind === 'retry';
}

function isBreaker(policy: Policy<unknown>): policy is CircuitBreakerPolicy {
  return policy.kind === 'circuitBreaker';
}
