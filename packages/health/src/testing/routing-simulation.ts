import type { Clock, Random, Timer } from '@xiaoke/core';
import { createBalancer } from '../discovery/balancer/load-balancer.ts';
import type { BalancerOptions } from '../discovery/balancer/options.ts';

/** How a simulated node answers one request: by the time, its luck, and how many requests it has. */
export type NodeModel = (
  atMs: number,
  random: Random,
  inflight: number,
) => { readonly ms: number; readonly ok: boolean };

/** Chooses nodes. */
export interface Router {
  /** The index of the node for the next request, and what to call when that ends. */
  route(): { readonly node: number; end(ok: boolean): void };
}

/** What a router is made from. */
export interface SimulatedWorld {
  readonly nodes: number;
  /** Simulated time. */
  readonly clock: Clock;
  readonly random: Random;
}

/** What is simulated. */
export interface RoutingScenario {
  readonly nodes: readonly NodeModel[];
  /** Requests arrive at random (Poisson), whether or not earlier ones have ended. */
  readonly requestsPerSecond: number;
  readonly seconds: number;
  readonly seed: number;
  readonly router: (world: SimulatedWorld) => Router;
  /** The process that routes stands still for `lastMs` every `everyMs`: it notices what happens meanwhile at the end of it. */
  readonly stalls?: { readonly everyMs: number; readonly lastMs: number };
  /** Measures how long after `afterMs` the last 500 requests give `share` to `node`. */
  readonly comeback?: { readonly node: number; readonly afterMs: number; readonly share: number };
}

/** What came of it. */
export interface RoutingResult {
  readonly requests: number;
  /** From 0 to 1. */
  readonly errorRate: number;
  /** Of the requests that went well. */
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** The share of the requests of each node. */
  readonly shares: readonly number[];
  readonly comebackMs: number | undefined;
}

/**
 * Simulates how requests are spread over nodes that fail, slow down and recover: event by event, in simulated time, so that
 * minutes take milliseconds and the same seed gives the same result.
 *
 * @example
 * ```ts
 * import { balancerRouter, simulateRouting } from '@xiaoke/health/testing';
 * const well = () => ({ ms: 20, ok: true });
 * const broken = () => ({ ms: 0.2, ok: false });
 * const { errorRate } = simulateRouting({
 *   nodes: [well, well, well, broken], requestsPerSecond: 1_000, seconds: 30, seed: 1, router: balancerRouter(),
 * });
 * console.log(errorRate < 0.001); // => true
 * ```
 */
export function simulateRouting(scenario: RoutingScenario): RoutingResult {
  return new Simulation(scenario).run();
}

/** A router that is a balancer. */
export function balancerRouter(options: BalancerOptions = {}): RoutingScenario['router'] {
  return ({ nodes, clock, random }) => {
    const list = Array.from({ length: nodes }, (_, index) => ({
      id: String(index),
      url: `http://${index}.test`,
    }));
    const balancer = createBalancer(list, { ...options, clock, random });
    return {
      route: () => {
        const lease = balancer.pick();
        return { node: Number(lease.id), end: (ok) => (ok ? lease.ok() : lease.fail()) };
      },
    };
  };
}

/** Requests over which a share is taken. */
const WINDOW = 500;

class Simulation {
  readonly #scenario: RoutingScenario;
  readonly #events = new EventQueue();
  readonly #random: Random;
  readonly #router: Router;
  readonly #inflight: number[];
  readonly #picked: number[];
  readonly #latencies: number[] = [];
  readonly #recent: number[] = [];
  #now = 0;
  /** Requests under way, and the next one; timers alone do not go on. */
  #awaited = 0;
  #requests = 0;
  #errors = 0;
  #comebackMs: number | undefined;

  constructor(scenario: RoutingScenario) {
    this.#scenario = scenario;
    this.#random = seededRandom(scenario.seed);
    this.#inflight = scenario.nodes.map(() => 0);
    this.#picked = scenario.nodes.map(() => 0);
    this.#router = scenario.router({
      nodes: scenario.nodes.length,
      clock: simulatedClock(() => this.#now, this.#events),
      random: seededRandom(scenario.seed + 1),
    });
  }

  run(): RoutingResult {
    this.#await(0, () => this.#arrive());
    while (this.#awaited > 0) {
      const next = this.#events.pop();
      if (next === undefined) break;
      this.#now = Math.max(this.#now, this.#noticedAt(next.at));
      next.run();
    }
    const sorted = Float64Array.from(this.#latencies).sort();
    const at = (q: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? 0;
    return {
      requests: this.#requests,
      errorRate: this.#errors / this.#requests,
      p50Ms: at(0.5),
      p99Ms: at(0.99),
      shares: this.#picked.map((picked) => picked / this.#requests),
      comebackMs: this.#comebackMs,
    };
  }

  #await(at: number, run: () => void): void {
    this.#awaited += 1;
    this.#events.push(at, () => {
      this.#awaited -= 1;
      run();
    });
  }

  #noticedAt(at: number): number {
    const { everyMs, lastMs } = this.#scenario.stalls ?? { everyMs: Infinity, lastMs: 0 };
    const begun = Math.floor(at / everyMs) * everyMs;
    return begun > 0 && at < begun + lastMs ? begun + lastMs : at;
  }

  #arrive(): void {
    const { seconds, requestsPerSecond, nodes } = this.#scenario;
    if (this.#now > seconds * 1_000) return;
    const { node, end } = this.#router.route();
    const start = this.#now;
    const inflight = (this.#inflight[node] ?? 0) + 1;
    this.#inflight[node] = inflight;
    this.#picked[node] = (this.#picked[node] ?? 0) + 1;
    this.#requests += 1;
    this.#watch(node);
    const { ms, ok } = nodes[node]?.(this.#now, this.#random, inflight) ?? { ms: 0, ok: false };
    this.#await(start + ms, () => {
      this.#inflight[node] = (this.#inflight[node] ?? 1) - 1;
      if (ok) this.#latencies.push(this.#now - start);
      else this.#errors += 1;
      end(ok);
    });
    const pause = (-Math.log(1 - this.#random()) / requestsPerSecond) * 1_000;
    this.#await(this.#now + pause, () => this.#arrive());
  }

  #watch(node: number): void {
    const { comeback } = this.#scenario;
    if (comeback === undefined || this.#comebackMs !== undefined || this.#now < comeback.afterMs) return;
    this.#recent.push(node === comeback.node ? 1 : 0);
    if (this.#recent.length > WINDOW) this.#recent.shift();
    const share = this.#recent.reduce((sum, each) => sum + each, 0) / WINDOW;
    if (this.#recent.length === WINDOW && share >= comeback.share)
      this.#comebackMs = this.#now - comeback.afterMs;
  }
}

interface SimulatedEvent {
  readonly at: number;
  run(): void;
}

/** A binary heap by time. */
class EventQueue {
  readonly #heap: SimulatedEvent[] = [];

  push(at: number, run: () => void): void {
    const heap = this.#heap;
    const event = { at, run };
    let index = heap.length;
    heap.push(event);
    while (index > 0) {
      const parent = (index - 1) >> 1;
      const above = heap[parent];
      if (above === undefined || above.at <= at) break;
      heap[index] = above;
      index = parent;
    }
    heap[index] = event;
  }

  pop(): SimulatedEvent | undefined {
    const heap = this.#heap;
    const [first] = heap;
    const last = heap.pop();
    if (first === undefined || last === undefined || heap.length === 0) return first;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= heap.length) break;
      if ((heap[child + 1]?.at ?? Infinity) < (heap[child]?.at ?? Infinity)) child += 1;
      const below = heap[child];
      if (below === undefined || below.at >= last.at) break;
      heap[index] = below;
      index = child;
    }
    heap[index] = last;
    return first;
  }
}

/** Repeatable random numbers (mulberry32). */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

function simulatedClock(now: () => number, events: EventQueue): Clock {
  const start = (callback: () => void, delay: number, again: boolean): Timer => {
    let active = true;
    const arm = (): void => events.push(now() + delay, ring);
    const ring = (): void => {
      if (!active) return;
      active = again;
      callback();
      if (active) arm();
    };
    arm();
    const timer: Timer = { cancel: () => void (active = false), unref: () => timer, ref: () => timer };
    return timer;
  };
  return {
    now,
    monotonic: now,
    setTimeout: (callback, delay) => start(callback, delay, false),
    setInterval: (callback, period) => start(callback, period, true),
  };
}
