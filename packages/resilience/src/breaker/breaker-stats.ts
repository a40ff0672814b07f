import type { PolicyStats } from '../engine/policy.ts';

/** Where a circuit stands. */
export type CircuitState = 'closed' | 'open' | 'half-open' | 'isolated';

/** Why a circuit changed. */
export type TransitionReason =
  | 'failure-rate'
  | 'slow-calls'
  | 'consecutive-failures'
  | 'open-time-passed'
  | 'probes-succeeded'
  | 'probes-failed'
  | 'no-verdict'
  | 'manual'
  | 'shared';

/** One change of a circuit. */
export interface CircuitTransition {
  readonly breaker: string;
  readonly from: CircuitState;
  readonly to: CircuitState;
  readonly reason: TransitionReason;
  /** Wall-clock time, milliseconds since the epoch. */
  readonly at: number;
}

/** What a circuit breaker saw. */
export interface CircuitBreakerStats extends PolicyStats {
  readonly kind: 'circuitBreaker';
  readonly state: CircuitState;
  /** Calls that were let through. */
  readonly admitted: number;
  readonly succeeded: number;
  readonly failed: number;
  /** The failures that were timeouts. */
  readonly timedOut: number;
  readonly slow: number;
  /** Ended without saying anything about the dependency: aborted, refused further in, ignored. */
  readonly ignored: number;
  readonly rejected: number;
  /** Let through because the circuit only observes. */
  readonly wouldHaveRejected: number;
  /** Results of calls that were admitted before a change, and so changed nothing. */
  readonly stale: number;
  readonly opened: number;
  readonly window: { readonly calls: number; readonly failureRate: number; readonly slowRate: number };
  /** The highest failure rate seen since the window began to hold `minimumCalls`, or any calls at all. */
  readonly worstFailureRate: number;
  readonly minimumCalls: number;
  readonly timeInStateMs: Readonly<Record<CircuitState, number>>;
  /** The last 64 changes, oldest first. */
  readonly transitions: readonly CircuitTransition[];
}

const KEPT = 64;

/** Keeps when a circuit was in which state. */
export class CircuitHistory {
  readonly timeInStateMs: Record<CircuitState, number> = { closed: 0, open: 0, 'half-open': 0, isolated: 0 };
  #transitions: CircuitTransition[] | undefined = undefined;
  #since: number;

  constructor(now: number) {
    this.#since = now;
  }

  record(transition: CircuitTransition, now: number): void {
    this.passTime(transition.from, now);
    const transitions = (this.#transitions ??= []);
    transitions.push(transition);
    if (transitions.length > KEPT) transitions.shift();
  }

  passTime(state: CircuitState, now: number): void {
    this.timeInStateMs[state] += now - this.#since;
    this.#since = now;
  }

  get transitions(): readonly CircuitTransition[] {
    return [...(this.#transitions ?? [])];
  }
}
