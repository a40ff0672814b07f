import { toMilliseconds, type Clock, type Duration } from '@xiaoke/core';
import { TimeWindow } from '../breaker/call-window.ts';
import type { Part } from '../engine/compile.ts';
import type { CallPriority } from '../engine/context.ts';
import { BasePolicy, policyName, type Policy, type PolicyStats } from '../engine/policy.ts';
import type { Scope } from '../engine/scope.ts';
import { refuse, type REFUSED, type Stage } from '../engine/stage.ts';
import { OverloadError, withoutStack } from '../errors.ts';
import { checkNumber, checkObject } from '../options.ts';
import {
  createHttpShedding,
  type HttpHandler,
  type HttpMiddleware,
  type HttpShedding,
  type PriorityOf,
} from './http-shedding.ts';
import { ProcessLoadSource, type LoadSource } from './process-load.ts';

/** Options of {@link loadShedder}. */
export interface LoadShedderOptions {
  readonly name?: string | undefined;
  /** The process is overloaded when its event loop is later than this (99th percentile). @default '100ms' */
  readonly maxDelay?: Duration | undefined;
  /** … or works for more than this share of the time. @default 0.98 */
  readonly maxUtilization?: number | undefined;
  /** Requests in work at most, overloaded or not. @default Infinity */
  readonly maxInFlight?: number | undefined;
  /** So many are always let in. @default 8 */
  readonly minInFlight?: number | undefined;
  /** After the load has fallen, how long it still counts as overloaded. @default '1s' */
  readonly coolOff?: Duration | undefined;
  /** What a refused client is told to wait. @default '1s' */
  readonly retryAfter?: Duration | undefined;
  /** Measures the load. @default this process */
  readonly load?: LoadSource | undefined;
  readonly clock?: Clock | undefined;
}

/** What a {@link loadShedder} saw. */
export interface LoadShedderStats extends PolicyStats {
  readonly kind: 'loadShedder';
  readonly inFlight: number;
  readonly admitted: number;
  readonly shed: number;
  readonly overloaded: boolean;
  /** Requests in work that this process can keep up with, as measured; what is beyond is shed under overload. */
  readonly capacity: number;
  readonly delayMs: number;
  readonly utilization: number;
}

/** A {@link loadShedder}. */
export interface LoadShedder extends Policy, HttpShedding {
  readonly kind: 'loadShedder';
  stats(): LoadShedderStats;
  /** Stops measuring. Idempotent. */
  close(): void;
}

// Low priority is shed first, high last.
const SHARE: Readonly<Record<CallPriority, number>> = { low: 0.5, normal: 1, high: 1.5 };
const WINDOW = 5_000;
const BUCKETS = 10;

/**
 * Refuses work (`LOAD_SHED`) that this process could not finish in time. While the event loop is late, it lets in as many
 * requests as it can keep up with by Little's law: the best throughput of the last seconds times the shortest latency (as
 * BBR and go-zero do). Requests count from their arrival, so those that hang are seen.
 *
 * As a server's first step: `server.on('request', shedder.http(handler))`, `app.use(shedder.express())`,
 * `fastify.register(shedder.fastify())`.
 *
 * @throws InvalidOptionError for a bad option
 */
export function loadShedder(options: LoadShedderOptions = {}): LoadShedder {
  return new Shedder(options);
}

class Shedder extends BasePolicy<never, object> implements LoadShedder, Stage {
  readonly kind = 'loadShedder';
  readonly holdsUntilSettled = true;
  readonly #limits: Limits;
  readonly #load: LoadSource;
  readonly #http: HttpShedding;
  readonly #passed = new TimeWindow(WINDOW, BUCKETS);
  #bestPerSecond = 0;
  #shortestMs = Infinity;
  #windowEnds = 0;
  #inFlight = 0;
  #overloadedUntil = 0;
  #admitted = 0;
  #shed = 0;

  constructor(options: LoadShedderOptions) {
    const limits = resolveLimits(options);
    super(policyName('loadShedder', options.name), options.clock);
    this.#limits = limits;
    this.#load = options.load ?? new ProcessLoadSource();
    this.#http = createHttpShedding({
      admit: (priority) => this.#admit(priority, this.clock.monotonic()),
      retryAfterMs: limits.retryAfter,
    });
  }

  http(handler: HttpHandler, priorityOf?: PriorityOf): HttpHandler {
    return this.#http.http(handler, priorityOf);
  }

  express(priorityOf?: PriorityOf): HttpMiddleware {
    return this.#http.express(priorityOf);
  }

  fastify(priorityOf?: PriorityOf): ReturnType<HttpShedding['fastify']> {
    return this.#http.fastify(priorityOf);
  }

  enter(scope: Scope, now: number): (() => void) | typeof REFUSED {
    const leave = this.#admit(scope.call.priority, now);
    if (leave !== undefined) return leave;
    const { name: policy } = this;
    const info = { policy, retryAfterMs: this.#limits.retryAfter };
    return refuse(
      scope,
      withoutStack(() => new OverloadError('LOAD_SHED', `"${policy}" sheds load`, info)),
    );
  }

  leave(token: unknown): void {
    (token as () => void)();
  }

  close(): void {
    this.#load.close();
  }

  parts(): readonly Part[] {
    return [{ type: 'stage', stage: this, clock: this.clock }];
  }

  stats(): LoadShedderStats {
    const now = this.clock.monotonic();
    return {
      kind: this.kind,
      name: this.name,
      inFlight: this.#inFlight,
      admitted: this.#admitted,
      shed: this.#shed,
      overloaded: this.#isOverloaded(now),
      capacity: this.#capacity(now),
      ...this.#load.read(),
    };
  }

  /** Takes a request in and gives what ends it, or `undefined` when it is shed. */
  #admit(priority: CallPriority, now: number): (() => void) | undefined {
    const share = SHARE[priority];
    const beyond = this.#inFlight >= this.#limits.maxInFlight * Math.min(1, share);
    if (beyond || (this.#isOverloaded(now) && this.#inFlight >= this.#capacity(now) * share)) {
      this.#shed += 1;
      return undefined;
    }
    this.#inFlight += 1;
    this.#admitted += 1;
    let inWork = true;
    return () => {
      if (!inWork) return;
      inWork = false;
      this.#finish(now);
    };
  }

  #finish(begun: number): void {
    const now = this.clock.monotonic();
    this.#inFlight -= 1;
    this.#learn(now);
    this.#passed.record(now, false, false);
    this.#shortestMs = Math.min(this.#shortestMs, Math.max(1, now - begun));
  }

  /** Keeps the best of the last windows; each window the old best fades a little, so that a slower machine is noticed. */
  #learn(now: number): void {
    if (now < this.#windowEnds) return;
    const perSecond = (this.#passed.totals(now).calls * 1_000) / WINDOW;
    this.#bestPerSecond = Math.max(perSecond, this.#bestPerSecond * 0.9);
    this.#shortestMs *= 1.1;
    this.#windowEnds = now + WINDOW;
  }

  #capacity(now: number): number {
    this.#learn(now);
    const { minInFlight, maxInFlight } = this.#limits;
    const perSecond = Math.max(this.#bestPerSecond, (this.#passed.totals(now).calls * 1_000) / WINDOW);
    const sustained = this.#shortestMs === Infinity ? minInFlight : (perSecond * this.#shortestMs) / 1_000;
    return Math.min(maxInFlight, Math.max(minInFlight, Math.ceil(sustained)));
  }

  #isOverloaded(now: number): boolean {
    const { delayMs, utilization } = this.#load.read();
    const { maxDelay, maxUtilization, coolOff } = this.#limits;
    if (delayMs > maxDelay || utilization > maxUtilization) this.#overloadedUntil = now + coolOff;
    return now < this.#overloadedUntil;
  }
}

interface Limits {
  readonly maxDelay: number;
  readonly maxUtilization: number;
  readonly maxInFlight: number;
  readonly minInFlight: number;
  readonly coolOff: number;
  readonly retryAfter: number;
}

function resolveLimits(options: LoadShedderOptions): Limits {
  checkObject('', options, [
    'name',
    'maxDelay',
    'maxUtilization',
    'maxInFlight',
    'minInFlight',
    'coolOff',
    'retryAfter',
    'load',
    'clock',
  ]);
  const whole = { min: 1, integer: true };
  return Object.freeze({
    maxDelay: toMilliseconds(options.maxDelay ?? '100ms', 'maxDelay', { min: 1 }),
    maxUtilization: checkNumber('maxUtilization', options.maxUtilization ?? 0.98, { min: 0.1, max: 1 }),
    maxInFlight: checkNumber('maxInFlight', options.maxInFlight ?? Infinity, whole),
    minInFlight: checkNumber('minInFlight', options.minInFlight ?? 8, whole),
    coolOff: toMilliseconds(options.coolOff ?? '1s', 'coolOff'),
    retryAfter: toMilliseconds(options.retryAfter ?? '1s', 'retryAfter', { min: 1 }),
  });
}
