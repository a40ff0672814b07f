import type { Clock } from '@xiaoke/core';
import type { ResolvedBreakerOptions } from './breaker-options.ts';
import {
  CircuitHistory,
  type CircuitBreakerStats,
  type CircuitState,
  type CircuitTransition,
  type TransitionReason,
} from './breaker-stats.ts';
import type { CallWindow } from './call-window.ts';
import { OpossumCircuit } from './opossum-circuit.ts';
import type { OpossumLike } from './opossum-like.ts';
import type { SharedCircuitMembership, SharedCircuits } from './shared-circuits.ts';
import type { Verdict } from './verdict.ts';

/** What a circuit is made of. */
export interface CircuitParts {
  readonly name: string;
  readonly options: ResolvedBreakerOptions;
  readonly clock: Clock;
  readonly shared: SharedCircuits | undefined;
  /** Runs an action under the breaker, for calls made through opossum. */
  readonly run: (action: () => unknown) => Promise<unknown>;
  readonly onTransition: (transition: CircuitTransition) => void;
}

type Counts = Pick<CircuitBreakerStats, 'admitted' | 'succeeded' | 'failed' | 'slow' | 'stale' | 'opened'>;
const REFUSED = -1;

/**
 * The state machine. Every change begins a new generation; a call carries the generation that admitted it, and the
 * result of another generation is counted as stale and changes nothing. Time is looked at when a call comes, so no
 * timer is needed and none can be late.
 *
 * opossum holds the state for the outside from the first opening on; its own `open()` and `close()` lead back here.
 */
export class Circuit {
  options: ResolvedBreakerOptions;
  readonly #parts: CircuitParts;
  readonly #history: CircuitHistory;
  readonly #counts = { admitted: 0, succeeded: 0, failed: 0, slow: 0, stale: 0, opened: 0 } satisfies Counts;
  #window: CallWindow;
  #state: CircuitState = 'closed';
  #generation = 0;
  #inARow = 0;
  #openings = 0;
  #until = 0;
  #holds = 0;
  #worstFailureRate = 0;
  #probes = { issued: 0, running: 0, succeeded: 0, failed: 0, slow: 0 };
  #opossum: OpossumLike | undefined = undefined;
  #telling = false;
  readonly #membership: SharedCircuitMembership | undefined;

  constructor(parts: CircuitParts) {
    this.#parts = parts;
    this.options = parts.options;
    this.#window = parts.options.makeWindow();
    this.#history = new CircuitHistory(parts.clock.monotonic());
    this.#membership = parts.shared?.join({
      name: parts.name,
      openRemotely: (until) => this.#openRemotely(until),
      probeRemotely: () => this.#probeRemotely(),
      closeRemotely: () => this.close('shared', parts.clock.monotonic()),
    });
  }

  get opossum(): OpossumLike {
    if (this.#opossum !== undefined) return this.#opossum;
    const made = new OpossumCircuit(this.#parts);
    this.attach(made);
    return made;
  }

  /** Makes `opossum` the outside holder of the state, in both directions. */
  attach(opossum: OpossumLike): void {
    this.#opossum = opossum;
    const { clock } = this.#parts;
    if (opossum.opened) this.open('manual', clock.monotonic());
    else this.#tell(this.#state);
    const follow = (act: (now: number) => void) => (): void => {
      if (!this.#telling) act(clock.monotonic());
    };
    opossum.on(
      'open',
      follow((now) => this.open('manual', now)),
    );
    opossum.on(
      'close',
      follow((now) => this.close('manual', now)),
    );
    opossum.on(
      'halfOpen',
      follow((now) => this.#halfOpen(now)),
    );
  }

  /** New options, for calls that begin now; where the circuit stands and what it counted stay, unless its window is new. */
  configure(options: ResolvedBreakerOptions): void {
    this.options = options;
    this.#window = options.makeWindow();
    this.#inARow = 0;
  }

  stateAt(now: number): CircuitState {
    this.#passTime(now);
    return this.#state;
  }

  /** The generation that admits a call, or a negative number when it is refused. */
  admit(now: number): number {
    if (this.#state !== 'closed' && !this.#admitProbe(now)) return REFUSED;
    this.#counts.admitted += 1;
    return this.#generation;
  }

  /** As {@link Circuit.record} for a quick success, which a healthy circuit sees all the time: short, so that it is inlined. */
  recordSuccess(generation: number, now: number, durationMs: number): void {
    if (generation !== this.#generation || this.#state !== 'closed' || durationMs >= this.options.slowAfter)
      return this.record(generation, 'success', now, durationMs);
    this.#counts.succeeded += 1;
    this.#inARow = 0;
    this.#window.record(now, false, false);
    if (this.#window.failures > 0 || this.#window.slow > 0) this.#judgeWindow(now);
  }

  record(generation: number, verdict: Verdict, now: number, durationMs: number): void {
    if (generation !== this.#generation) {
      this.#counts.stale += 1;
      return;
    }
    const probing = this.#state === 'half-open';
    if (probing) this.#probes.running -= 1;
    if (verdict === 'ignored') {
      // A probe that says nothing does not use up its place.
      if (probing) this.#probes.issued -= 1;
      return;
    }
    const failed = verdict === 'failure';
    const slow = durationMs >= this.options.slowAfter;
    if (failed) this.#counts.failed += 1;
    else this.#counts.succeeded += 1;
    if (slow) this.#counts.slow += 1;
    if (probing) this.#judgeProbes(failed, slow, now);
    else this.#judge(failed, slow, now);
  }

  open(reason: TransitionReason, now: number): void {
    if (this.#holds > 0 || (this.#state === 'open' && reason !== 'shared')) return;
    this.#openings += 1;
    const openFor = this.options.openFor(this.#openings);
    this.#until = now + openFor;
    this.#counts.opened += 1;
    this.#change('open', reason, now);
    if (reason !== 'shared') this.#membership?.opened(openFor);
  }

  close(reason: TransitionReason, now: number): void {
    if (this.#holds > 0 || this.#state === 'closed') return;
    this.#openings = 0;
    this.#change('closed', reason, now);
    if (reason !== 'shared') this.#membership?.closed();
  }

  isolate(now: number): Disposable {
    this.#holds += 1;
    if (this.#holds === 1) this.#change('isolated', 'manual', now);
    let held = true;
    return {
      [Symbol.dispose]: () => {
        if (!held) return;
        held = false;
        this.#holds -= 1;
        this.close('manual', this.#parts.clock.monotonic());
      },
    };
  }

  /** When a refused call may come again; `undefined` when nobody knows. */
  retryAfterMs(now: number): number | undefined {
    return this.#state === 'isolated' ? undefined : Math.max(1, Math.ceil(this.#until - now));
  }

  stats(
    now: number,
  ): Omit<CircuitBreakerStats, 'kind' | 'name' | 'timedOut' | 'ignored' | 'rejected' | 'wouldHaveRejected'> {
    this.#passTime(now);
    this.#history.passTime(this.#state, now);
    const { calls, failures, slow } = this.#window.totals(now);
    const share = (count: number): number => (calls === 0 ? 0 : count / calls);
    return {
      ...this.#counts,
      state: this.#state,
      window: { calls, failureRate: share(failures), slowRate: share(slow) },
      worstFailureRate: this.#worstFailureRate,
      minimumCalls: this.options.minimumCalls,
      timeInStateMs: { ...this.#history.timeInStateMs },
      transitions: this.#history.transitions,
    };
  }

  #passTime(now: number): void {
    if (now < this.#until) return;
    // While others decide who probes, their silence ends at the time that openRemotely() was given.
    if (this.#state === 'open') this.#halfOpen(now);
    else if (this.#state === 'half-open') this.open('no-verdict', now);
  }

  #admitProbe(now: number): boolean {
    this.#passTime(now);
    if (this.#state !== 'half-open') return this.#state === 'closed';
    const { issued, running } = this.#probes;
    if (issued >= this.options.halfOpenCalls || running >= this.options.halfOpenConcurrency) return false;
    this.#probes.issued += 1;
    this.#probes.running += 1;
    return true;
  }

  #judge(failed: boolean, slow: boolean, now: number): void {
    const { options } = this;
    this.#window.record(now, failed, slow);
    this.#inARow = failed ? this.#inARow + 1 : 0;
    if (this.#inARow >= options.consecutiveFailures) return this.open('consecutive-failures', now);
    this.#judgeWindow(now);
  }

  #judgeWindow(now: number): void {
    const { options } = this;
    const { calls, failures, slow: slowCalls } = this.#window.totals(now);
    if (failures === 0 && slowCalls === 0) return;
    const rate = failures / calls;
    if (rate > this.#worstFailureRate && calls >= Math.min(5, options.minimumCalls))
      this.#worstFailureRate = rate;
    if (calls < options.minimumCalls) return;
    if (rate >= options.failureRate) this.open('failure-rate', now);
    else if (slowCalls / calls >= options.slowRate) this.open('slow-calls', now);
  }

  /** Decides as soon as the probes still missing could not change the verdict. */
  #judgeProbes(failed: boolean, slow: boolean, now: number): void {
    const probes = this.#probes;
    const { halfOpenCalls, failureRate, slowRate } = this.options;
    if (failed) probes.failed += 1;
    else probes.succeeded += 1;
    if (slow) probes.slow += 1;
    const missing = halfOpenCalls - probes.failed - probes.succeeded;
    const tooMany = atLeast(failureRate, halfOpenCalls);
    const tooSlow = atLeast(slowRate, halfOpenCalls);
    if (probes.failed >= tooMany || probes.slow >= tooSlow) this.open('probes-failed', now);
    else if (probes.failed + missing < tooMany && probes.slow + missing < tooSlow)
      this.close('probes-succeeded', now);
  }

  #halfOpen(now: number): void {
    if (this.#state !== 'open') return;
    this.#until = now + this.options.halfOpenTimeout;
    this.#probes = { issued: 0, running: 0, succeeded: 0, failed: 0, slow: 0 };
    this.#change('half-open', 'open-time-passed', now);
  }

  #openRemotely(until: number): void {
    const now = this.#parts.clock.monotonic();
    if (this.#holds > 0) return;
    if (this.#state !== 'open') this.open('shared', now);
    this.#until = until;
  }

  #probeRemotely(): boolean {
    this.#halfOpen(this.#parts.clock.monotonic());
    return this.#state !== 'closed';
  }

  #change(to: CircuitState, reason: TransitionReason, now: number): void {
    const from = this.#state;
    this.#state = to;
    this.#generation += 1;
    this.#inARow = 0;
    this.#window.clear();
    const transition = { breaker: this.#parts.name, from, to, reason, at: this.#parts.clock.now() };
    this.#history.record(transition, now);
    this.#tell(to);
    this.#parts.onTransition(transition);
  }

  #tell(state: CircuitState): void {
    if (state === 'closed' && this.#opossum === undefined) return;
    this.#telling = true;
    try {
      const { opossum } = this;
      if (state === 'closed') opossum.close();
      else if (state !== 'half-open' || opossum.closed) opossum.open();
      // An opossum of the user's goes half-open by its own timer.
      if (state === 'half-open' && opossum instanceof OpossumCircuit) opossum.tryHalfOpen(this.#until);
    } catch {
      // A listener on the opossum instance threw. The state is ours, and the call that led here is not to blame.
    } finally {
      this.#telling = false;
    }
  }
}

/** How many of `calls` make the share `rate`. */
function atLeast(rate: number, calls: number): number {
  // The subtraction keeps 0.1 * 30 = 3.0000000000000004 from meaning 4.
  return Math.max(1, Math.ceil(rate * calls - 1e-9));
}
