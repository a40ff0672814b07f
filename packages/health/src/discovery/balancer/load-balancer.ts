import {
  abortable,
  InvalidOptionError,
  IsolatedEmitter,
  NonRetryableError,
  onAbort,
  TimeoutError,
  toMilliseconds,
  withTimeout,
} from '@xiaoke/core';
import { DiscoveryError } from '../errors.ts';
import type { Instance } from '../instance.ts';
import type {
  Balancer,
  BalancerEvents,
  BalancerStats,
  CallContext,
  CallOptions,
  Lease,
  PickOptions,
} from './balancer.ts';
import {
  resolveBalancerOptions,
  type BalancerOptions,
  type CallOutcome,
  type ResolvedBalancerOptions,
} from './options.ts';
import { OutlierDetector } from './outlier-detector.ts';
import { Pool } from './pool.ts';
import { RetryBudget } from './retry-budget.ts';
import { openSource, type BalancerSource, type Feed } from './source.ts';
import { StallMeter } from './stall-meter.ts';
import { Target, type Climate } from './target.ts';

/** How often it is looked whether somebody left out may be tried, and whether shares have grown, in milliseconds. */
const REVIEW = 50;
const FIRST_WAIT = 5_000;

type Work<T> = (instance: Instance, context: CallContext) => T | Promise<T>;

/**
 * Makes a balancer over the instances of a source.
 *
 * @throws `INVALID_OPTION`
 *
 * @example
 * ```ts
 * import { createBalancer } from '@xiaoke/health/discovery';
 * const balancer = createBalancer(['http://10.0.0.1:8080', 'http://10.0.0.2:8080']);
 * const text = await balancer.call(async ({ url }) => `asked ${new URL(url).port}`);
 * console.log(text); // => asked 8080
 * await balancer.close();
 * ```
 */
export function createBalancer(source: BalancerSource, options?: BalancerOptions): Balancer {
  return new LoadBalancer(source, resolveBalancerOptions(options));
}

class LoadBalancer extends IsolatedEmitter<BalancerEvents> implements Balancer {
  readonly #options: ResolvedBalancerOptions;
  readonly #climate: Climate;
  readonly #targets = new Map<string, Target>();
  readonly #pool: Pool;
  readonly #detector: OutlierDetector | undefined;
  readonly #budget: RetryBudget;
  readonly #stalls: StallMeter;
  readonly #feed: Feed;
  readonly #counts = { errors: 0, retries: 0, retriesRefused: 0, ejections: 0, unserved: 0 };
  #probes: Target[] = [];
  #ejected = 0;
  #reviewAt = Infinity;
  #begun = false;
  #closed = false;

  constructor(source: BalancerSource, options: ResolvedBalancerOptions) {
    super({ logger: options.logger });
    const { tauMs, errorPenaltyMs, outlier, random, clock } = options;
    this.#options = options;
    this.#climate = { tauMs, errorPenaltyMs, picks: 0, inflight: 0, doubtMs: 0, typicalMs: 0 };
    this.#pool = new Pool(options, { random, climate: this.#climate });
    this.#detector = outlier && new OutlierDetector(outlier, random);
    this.#budget = new RetryBudget(options.retryBudget, clock);
    this.#stalls = new StallMeter(clock);
    this.#feed = openSource(source, { ...options, onInstances: (instances) => this.#update(instances) });
  }

  get closed(): boolean {
    return this.#closed;
  }

  pick(options?: PickOptions): Lease {
    const now = this.#options.clock.monotonic();
    this.#climate.doubtMs = this.#stalls.doubt(now);
    const target = this.#choose(now, options);
    if (target === undefined) {
      this.#counts.unserved += 1;
      throw new DiscoveryError('NO_INSTANCE', 'There is no instance to choose from');
    }
    this.#climate.picks += 1;
    this.#climate.inflight += 1;
    target.begin(now);
    this.#stalls.enter(now);
    return new HeldLease(this, target, now);
  }

  async call<T>(work: Work<T>, options: CallOptions = {}): Promise<T> {
    const { signal, key, retries = this.#options.retries } = options;
    const timeoutMs =
      options.timeout === undefined ? Infinity : toMilliseconds(options.timeout, 'timeout', { min: 1 });
    if (!Number.isSafeInteger(retries) || retries < 0)
      throw new InvalidOptionError('retries', 'must be a whole number of at least 0');
    signal?.throwIfAborted();
    if (this.#targets.size === 0) await this.#firstInstances(signal);
    this.#budget.deposit();
    const tried = new Set(options.exclude);
    for (let attempt = 1; ; attempt += 1) {
      const lease = this.pick({ key, exclude: tried });
      try {
        return await this.#try(work, lease as HeldLease, { attempt, signal, timeoutMs });
      } catch (error) {
        tried.add(lease.id);
        if (attempt > retries || signal?.aborted === true || !this.#mayRetry(error, tried)) throw error;
      }
    }
  }

  stats(): BalancerStats {
    const now = this.#options.clock.monotonic();
    const instances = [...this.#targets.values()].map((target) => ({
      id: target.instance.id,
      url: target.instance.url,
      zone: target.instance.zone,
      status: target.instance.status,
      inflight: target.inflight,
      picks: target.picks,
      errors: target.errors,
      ...target.measured(now, this.#climate),
      ejected: target.ejectedAt !== undefined,
    }));
    const { policy } = this.#options;
    const { panic, available } = this.#pool;
    return { policy, picks: this.#climate.picks, ...this.#counts, available, panic, instances };
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#feed.close();
    this.#stalls.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  classify(error: unknown, result: unknown): CallOutcome {
    try {
      return this.#options.classify(error, result);
    } catch (failure) {
      this.#options.logger.error({ err: failure }, 'classify failed');
      return error === undefined ? 'ok' : 'error';
    }
  }

  /** A call ended. */
  finish(target: Target, start: number, outcome: CallOutcome): void {
    const now = this.#options.clock.monotonic();
    this.#climate.inflight -= 1;
    target.end(start);
    this.#climate.doubtMs = this.#stalls.doubt(now);
    this.#stalls.leave();
    if (outcome === 'ignore') {
      target.probing = false;
      return;
    }
    const ok = outcome === 'ok';
    if (!ok) {
      target.errors += 1;
      this.#counts.errors += 1;
    }
    if (target.ejectedAt === undefined) {
      target.learn(now, now - start, ok, this.#climate);
      if (this.#detector?.count(target, now, ok) === true) this.#eject(target, now);
    } else if (start >= target.ejectedAt) this.#afterProbe(target, { now, durationMs: now - start, ok });
  }

  #choose(now: number, options: PickOptions | undefined): Target | undefined {
    if (this.#closed) throw new DiscoveryError('REGISTRY_CLOSED', 'The balancer is closed');
    if (now >= this.#reviewAt) this.#review(now);
    const excluded = options?.exclude === undefined ? undefined : new Set(options.exclude);
    if (this.#probes.length > 0) {
      const probe = this.#nextProbe(excluded);
      if (probe !== undefined) return probe;
    }
    const chosen = this.#pool.choose(now, options?.key);
    if (chosen === undefined || excluded === undefined || !excluded.has(chosen.instance.id)) return chosen;
    const others = (target: Target): boolean => !excluded.has(target.instance.id);
    return this.#pool.chooseAmong(now, others) ?? [...this.#targets.values()].find(others);
  }

  /** Somebody left out whose time has come gets the next call, and only that one. */
  #nextProbe(excluded: ReadonlySet<string> | undefined): Target | undefined {
    const index = this.#probes.findIndex(({ instance }) => excluded?.has(instance.id) !== true);
    const [probe] = index < 0 ? [] : this.#probes.splice(index, 1);
    if (probe === undefined || this.#targets.get(probe.instance.id) !== probe) return undefined;
    probe.probing = true;
    return probe;
  }

  #afterProbe(
    target: Target,
    { now, durationMs, ok }: { now: number; durationMs: number; ok: boolean },
  ): void {
    if (!ok) {
      this.#detector?.eject(target, now, this.#climate.picks);
      return;
    }
    this.#detector?.readmit(target);
    this.#ejected -= 1;
    target.pardon(now, this.#climate);
    target.learn(now, durationMs, true, this.#climate);
    this.#arrange(now);
    this.emit('readmitted', { instance: target.instance });
  }

  #eject(target: Target, now: number): void {
    if (this.#targets.get(target.instance.id) !== target) return;
    if (this.#detector?.allows(this.#ejected, this.#targets.size) !== true) return;
    this.#detector.eject(target, now, this.#climate.picks);
    this.#ejected += 1;
    this.#counts.ejections += 1;
    this.#arrange(now);
    this.#options.logger.warn(
      { id: target.instance.id, ejections: target.ejections },
      'an instance is left out',
    );
    this.emit('ejected', { instance: target.instance, ejections: target.ejections });
  }

  #review(now: number): void {
    for (const target of this.#targets.values()) {
      if (target.ejectedAt === undefined || this.#probes.includes(target)) continue;
      if (this.#detector?.due(target, now, this.#climate.picks) === true) this.#probes.push(target);
    }
    if (this.#pool.warming) this.#arrange(now);
    else this.#scheduleReview(now);
  }

  #update(instances: readonly Instance[]): void {
    const now = this.#options.clock.monotonic();
    const present = new Set(instances.map(({ id }) => id));
    for (const id of this.#targets.keys()) if (!present.has(id)) this.#targets.delete(id);
    const warming = this.#begun && this.#options.slowStartMs > 0;
    for (const instance of instances) {
      const known = this.#targets.get(instance.id);
      if (known === undefined)
        this.#targets.set(instance.id, new Target(instance, now, this.#climate, warming));
      else known.instance = instance;
    }
    if (instances.length > 0) this.#begun = true;
    const targets = [...this.#targets.values()];
    this.#ejected = targets.filter(({ ejectedAt }) => ejectedAt !== undefined).length;
    this.#probes = this.#probes.filter((probe) => targets.includes(probe));
    this.#arrange(now);
  }

  #arrange(now: number): void {
    this.#pool.arrange([...this.#targets.values()], now);
    this.#scheduleReview(now);
  }

  #scheduleReview(now: number): void {
    this.#reviewAt = this.#ejected > 0 || this.#pool.warming ? now + REVIEW : Infinity;
  }

  async #firstInstances(signal: AbortSignal | undefined): Promise<void> {
    const { clock } = this.#options;
    const first = withTimeout(this.#feed.first, FIRST_WAIT, 'the first instances', { clock });
    // Without any, pick() says so.
    await abortable(
      first.catch(() => {}),
      signal,
    );
  }

  async #try<T>(
    work: Work<T>,
    lease: HeldLease,
    { attempt, signal, timeoutMs }: { attempt: number; signal: AbortSignal | undefined; timeoutMs: number },
  ): Promise<T> {
    const controller = new AbortController();
    const takeBack = onAbort(signal, (reason) => controller.abort(reason));
    const { clock } = this.#options;
    const timer =
      timeoutMs === Infinity
        ? undefined
        : clock.setTimeout(() => controller.abort(new TimeoutError('a call', timeoutMs)), timeoutMs);
    try {
      const working = Promise.resolve(work(lease.instance, { signal: controller.signal, attempt }));
      const result = await abortable(working, controller.signal);
      lease.end(this.classify(undefined, result));
      return result;
    } catch (error) {
      // What the caller gave up says nothing about the instance.
      lease.end(signal?.aborted === true ? 'ignore' : this.classify(error, undefined));
      throw error;
    } finally {
      takeBack();
      timer?.cancel();
    }
  }

  #mayRetry(error: unknown, tried: ReadonlySet<string>): boolean {
    if (error instanceof NonRetryableError || this.classify(error, undefined) !== 'error') return false;
    if (![...this.#targets.keys()].some((id) => !tried.has(id))) return false;
    if (!this.#budget.withdraw()) {
      this.#counts.retriesRefused += 1;
      return false;
    }
    this.#counts.retries += 1;
    return true;
  }
}

class HeldLease implements Lease {
  readonly #balancer: LoadBalancer;
  readonly #target: Target;
  readonly #start: number;
  /** As it was when it was chosen. */
  readonly instance: Instance;
  #ended = false;

  constructor(balancer: LoadBalancer, target: Target, start: number) {
    this.#balancer = balancer;
    this.#target = target;
    this.#start = start;
    this.instance = target.instance;
  }

  get id(): string {
    return this.instance.id;
  }

  get url(): string {
    return this.instance.url;
  }

  ok(): void {
    this.end('ok');
  }

  fail(error: unknown = new Error('failed')): void {
    this.end(this.#balancer.classify(error, undefined));
  }

  release(error?: unknown): void {
    if (error === undefined) this.end('ok');
    else this.fail(error);
  }

  [Symbol.dispose](): void {
    this.end('ok');
  }

  end(outcome: CallOutcome): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#balancer.finish(this.#target, this.#start, outcome);
  }
}
