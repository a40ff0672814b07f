import { InvalidOptionError } from '@xiaoke/core';
import { transitionChannel } from '../engine/channels.ts';
import type { Part } from '../engine/compile.ts';
import { BasePolicy, policyName, type Configurable, type Listenable, type Policy } from '../engine/policy.ts';
import type { Scope } from '../engine/scope.ts';
import { refuse, type REFUSED, type Stage } from '../engine/stage.ts';
import { CircuitOpenError, isTimeoutError, withoutStack } from '../errors.ts';
import { resolveBreakerOptions, type CircuitBreakerOptions } from './breaker-options.ts';
import type { CircuitBreakerStats, CircuitState, CircuitTransition } from './breaker-stats.ts';
import { Circuit } from './circuit.ts';
import type { OpossumLike } from './opossum-like.ts';
import { verdictOn } from './verdict.ts';

/** The events of a {@link circuitBreaker}. */
export interface CircuitBreakerEvents {
  /** Every change, before the event of its own. */
  transition: [transition: CircuitTransition];
  open: [transition: CircuitTransition];
  halfOpen: [transition: CircuitTransition];
  close: [transition: CircuitTransition];
  isolate: [transition: CircuitTransition];
}

/** A {@link circuitBreaker}. */
export interface CircuitBreakerPolicy
  extends Policy, Configurable<CircuitBreakerOptions>, Listenable<CircuitBreakerEvents> {
  readonly kind: 'circuitBreaker';
  /** Where it stands now; an opening whose time is over shows as half-open. */
  readonly state: CircuitState;
  /** The opossum instance that holds the state, made at the first opening or here. */
  readonly opossum: OpossumLike;
  /** Opens it by hand; it closes by its probes, as after an opening of its own. */
  open(): void;
  /** Closes it by hand and forgets what was counted. */
  close(): void;
  /** Holds it open until the handle is disposed of, for maintenance; it has no probes meanwhile. */
  isolate(): Disposable;
  stats(): CircuitBreakerStats;
}

/**
 * Stops calling what fails: after too many failures calls are refused with `CIRCUIT_OPEN` for a while, then a few probes
 * find out whether it is back. Where opossum's rules differ, ours are: a rate counts calls that ended, not those that
 * began; refusals of other policies and aborts count for nothing; a result of a call admitted before a change changes
 * nothing; a half-open circuit is bounded in probes and in time, so it cannot stick; no timer runs.
 *
 * @throws InvalidOptionError for a bad option
 * @example
 * ```ts run
 * import { circuitBreaker } from '@xiaoke/resilience';
 * const breaker = circuitBreaker({ name: 'billing', minimumCalls: 2 });
 * for (let call = 0; call < 2; call += 1) {
 *   await breaker.execute(() => Promise.reject(new Error('down'))).catch(() => {});
 * }
 * const refused = await breaker.execute(() => 'never runs').catch((error) => error.code);
 * console.log(breaker.state, refused); // => open CIRCUIT_OPEN
 * ```
 */
export function circuitBreaker(options: CircuitBreakerOptions = {}): CircuitBreakerPolicy {
  return new CircuitBreaker(options, undefined);
}

/**
 * Puts an opossum breaker that you already have into a pipeline. The two are one circuit from then on: what opens, closes
 * or half-opens either does so to the other, `fire()` of the old code included; our window and probes judge the calls that
 * come through here. How long it stays open is opossum's `resetTimeout` unless `openFor` is given.
 *
 * @throws InvalidOptionError for a bad option
 */
export function fromOpossum(breaker: OpossumLike, options: CircuitBreakerOptions = {}): CircuitBreakerPolicy {
  checkOpossum(breaker);
  const openFor = breaker.options?.resetTimeout;
  return new CircuitBreaker(
    { name: breaker.name, ...(openFor === undefined ? {} : { openFor }), ...options },
    breaker,
  );
}

function checkOpossum(breaker: unknown): void {
  const fits =
    typeof breaker === 'object' &&
    breaker !== null &&
    ['open', 'close', 'on'].every((method) => typeof Reflect.get(breaker, method) === 'function');
  if (!fits) throw new InvalidOptionError('breaker', 'must be an opossum circuit breaker');
}

const UNCOUNTED = -1;

class CircuitBreaker extends BasePolicy<never, CircuitBreakerEvents> implements CircuitBreakerPolicy, Stage {
  readonly kind = 'circuitBreaker';
  readonly holdsUntilSettled = false;
  readonly #circuit: Circuit;
  #ignored = 0;
  #timedOut = 0;
  #rejected = 0;
  #wouldHaveRejected = 0;

  constructor(options: CircuitBreakerOptions, opossum: OpossumLike | undefined) {
    const resolved = resolveBreakerOptions(options);
    super(policyName('circuitBreaker', options.name), options.clock);
    this.#circuit = new Circuit({
      name: this.name,
      options: resolved,
      clock: this.clock,
      shared: options.shared,
      run: (action) => this.execute(action),
      onTransition: (transition) => this.#announce(transition),
    });
    if (opossum !== undefined) this.#circuit.attach(opossum);
  }

  get state(): CircuitState {
    return this.#circuit.stateAt(this.clock.monotonic());
  }

  get opossum(): OpossumLike {
    return this.#circuit.opossum;
  }

  open(): void {
    this.#circuit.open('manual', this.clock.monotonic());
  }

  close(): void {
    this.#circuit.close('manual', this.clock.monotonic());
  }

  isolate(): Disposable {
    return this.#circuit.isolate(this.clock.monotonic());
  }

  configure(options: CircuitBreakerOptions): void {
    this.#circuit.configure(resolveBreakerOptions(options));
  }

  enter(scope: Scope, now: number): number | typeof REFUSED {
    const circuit = this.#circuit;
    const { mode } = circuit.options;
    if (mode === 'disabled') return UNCOUNTED;
    const generation = circuit.admit(now);
    if (generation >= 0) return generation;
    if (mode === 'observe') {
      this.#wouldHaveRejected += 1;
      return UNCOUNTED;
    }
    this.#rejected += 1;
    return refuse(scope, this.#refusal(now));
  }

  leave(token: unknown, scope: Scope): void {
    const circuit = this.#circuit;
    if (token === UNCOUNTED || scope.outcome !== 'success' || circuit.options.failureIfResult !== undefined)
      return this.#judge(token as number, scope);
    circuit.recordSuccess(token as number, scope.endedAt, scope.endedAt - scope.startedAt);
  }

  #judge(token: number, scope: Scope): void {
    if (token === UNCOUNTED) return;
    const circuit = this.#circuit;
    const verdict = verdictOn(scope, circuit.options, this.clock);
    if (verdict === 'ignored') this.#ignored += 1;
    else if (verdict === 'failure' && isTimeoutError(scope.settled)) this.#timedOut += 1;
    circuit.record(token, verdict, scope.endedAt, scope.endedAt - scope.startedAt);
  }

  parts(): readonly Part[] {
    return [{ type: 'stage', stage: this, clock: this.clock }];
  }

  stats(): CircuitBreakerStats {
    return {
      kind: this.kind,
      name: this.name,
      ...this.#circuit.stats(this.clock.monotonic()),
      timedOut: this.#timedOut,
      ignored: this.#ignored,
      rejected: this.#rejected,
      wouldHaveRejected: this.#wouldHaveRejected,
    };
  }

  #refusal(now: number): CircuitOpenError {
    const retryAfterMs = this.#circuit.retryAfterMs(now);
    const { name: policy } = this;
    return withoutStack(() =>
      retryAfterMs === undefined
        ? new CircuitOpenError('CIRCUIT_ISOLATED', `Circuit "${policy}" is held open`, { policy })
        : new CircuitOpenError('CIRCUIT_OPEN', `Circuit "${policy}" is open`, { policy, retryAfterMs }),
    );
  }

  #announce(transition: CircuitTransition): void {
    if (transitionChannel.hasSubscribers) transitionChannel.publish(transition);
    this.emit('transition', transition);
    this.emit(EVENT_OF[transition.to], transition);
  }
}

const EVENT_OF = { open: 'open', 'half-open': 'halfOpen', closed: 'close', isolated: 'isolate' } as const;
