import {
  IsolatedEmitter,
  noopMetrics,
  processWideSync,
  silentLogger,
  systemClock,
  systemRandom,
  type Clock,
  type Closeable,
  type CloseOptions,
  type HealthIndicator,
  type Logger,
  type MetricsSink,
  type Random,
  type RedisOption,
} from '@xiaoke/core';
import type { CircuitTransition } from '../breaker/breaker-stats.ts';
import type { CircuitBreakerPolicy } from '../breaker/circuit-breaker.ts';
import { createRedisRateLimitStore, type RedisRateLimitStore } from '../redis/redis-rate-limit-store.ts';
import {
  createSharedCircuits,
  type RedisSharedCircuits,
  type SharedCircuitsOptions,
} from '../redis/redis-shared-circuits.ts';
import { PolicyMetrics } from './policy-metrics.ts';
import { analyzeStats, type RetryAnalysis } from '../analysis/analyze.ts';
import type { Policy } from '../engine/policy.ts';
import { policyName } from '../engine/policy.ts';
import { ManagerClosedError, UnknownPolicyError } from '../errors.ts';
import { checkObject, within } from '../options.ts';
import type { PipelineStats } from '../pipeline/pipeline.ts';
import type { RetryPolicy } from '../retry/retry.ts';
import type { RetryEvent } from '../retry/retry-run.ts';
import type { PolicyDefinition, Surroundings } from './definition.ts';
import { NamedPolicy } from './named-policy.ts';

/** Options of {@link createResilienceManager}. */
export interface ResilienceManagerOptions {
  /** Policies to begin with. */
  readonly policies?: Readonly<Record<string, PolicyDefinition>> | undefined;
  /** With Redis, circuits and rate limits of the same name are shared by all processes; without, each has its own. */
  readonly redis?: RedisOption | undefined;
  /** @default 'default' */
  readonly namespace?: string | undefined;
  /** How many processes must agree before a circuit opens for all. @default { min: 2, share: 0.3 } */
  readonly quorum?: SharedCircuitsOptions['quorum'];
  readonly metrics?: MetricsSink | undefined;
  readonly logger?: Logger | undefined;
  readonly clock?: Clock | undefined;
  readonly random?: Random | undefined;
}

/** What a manager saw. */
export interface ResilienceStats {
  readonly policies: Readonly<Record<string, PipelineStats>>;
  /** Listeners of this manager that threw or rejected. */
  readonly listenerErrors: number;
}

/** The events of a {@link ResilienceManager}: those of all its policies. */
export interface ResilienceEvents {
  /** A circuit changed. */
  transition: [transition: CircuitTransition];
  /** A call is about to be retried. */
  retry: [event: RetryEvent];
}

/** Keeps policies by name. */
export interface ResilienceManager
  extends Closeable, Pick<IsolatedEmitter<ResilienceEvents>, 'on' | 'once' | 'off' | 'listenerCount'> {
  readonly closed: boolean;
  /**
   * The policy of this name, made from `definition` when there is none, changed to it when there is.
   *
   * @throws InvalidOptionError for a bad definition; nothing changes then
   */
  policy(name: string, definition: PolicyDefinition): Policy;
  /** @throws UnknownPolicyError when there is none of this name */
  get(name: string): Policy;
  /**
   * Changes a policy while calls run: those that began go on as they were, and what the policy knows (an open circuit,
   * places taken, a budget) stays.
   *
   * @throws InvalidOptionError for a bad definition; the old one stays in force
   * @throws UnknownPolicyError when there is none of this name
   */
  update(name: string, definition: PolicyDefinition): void;
  names(): readonly string[];
  definition(name: string): PolicyDefinition;
  stats(): ResilienceStats;
  /** What the statistics advise, most important first. */
  analyze(): RetryAnalysis;
  /** Healthy, or degraded while a circuit is open or Redis is away. */
  healthIndicator(): HealthIndicator;
}

/**
 * Makes a manager of named policies.
 *
 * @throws InvalidOptionError for a bad option or definition
 * @example
 * ```ts run
 * import { createResilienceManager } from '@xiaoke/resilience';
 * const manager = createResilienceManager();
 * const billing = manager.policy('billing', { retry: { attempts: 3 }, circuitBreaker: {}, timeout: '2s' });
 * console.log(await billing.execute(async () => 'paid')); // => paid
 * manager.update('billing', { retry: { attempts: 2 }, circuitBreaker: {}, timeout: '1s' });
 * await manager.close();
 * ```
 */
export function createResilienceManager(options: ResilienceManagerOptions = {}): ResilienceManager {
  return new Manager(options);
}

/** The manager of this process for these options, made on first use. */
export const getResilienceManager: (options?: ResilienceManagerOptions) => ResilienceManager =
  processWideSync('@xiaoke/resilience', createResilienceManager);

const OPTION_NAMES = ['policies', 'redis', 'namespace', 'quorum', 'metrics', 'logger', 'clock', 'random'];

class Manager extends IsolatedEmitter<ResilienceEvents> implements ResilienceManager {
  readonly #policies = new Map<string, NamedPolicy>();
  readonly #surroundings: Surroundings;
  readonly #logger: Logger;
  readonly #metrics: PolicyMetrics | undefined;
  readonly #shared: RedisSharedCircuits | undefined;
  readonly #store: RedisRateLimitStore | undefined;
  readonly #closing = new AbortController();
  #listenerErrors = 0;

  constructor(options: ResilienceManagerOptions) {
    checkObject('', options, OPTION_NAMES);
    super({ logger: options.logger, onListenerError: () => void (this.#listenerErrors += 1) });
    const { policies = {}, logger = silentLogger, clock = systemClock, random = systemRandom } = options;
    const { redis, namespace, quorum, metrics = noopMetrics } = options;
    this.#logger = logger;
    if (metrics !== noopMetrics) this.#metrics = new PolicyMetrics(metrics, this.#closing.signal);
    if (redis !== undefined) {
      this.#shared = createSharedCircuits({ redis, namespace, quorum, logger, clock });
      this.#store = createRedisRateLimitStore({ redis, namespace, logger });
    }
    const onBuilt = (policy: Policy<unknown>): void => this.#watch(policy);
    this.#surroundings = { clock, random, shared: this.#shared, store: this.#store, onBuilt };
    for (const [name, definition] of Object.entries(policies))
      within(`policies.${name}`, () => this.policy(name, definition));
  }

  get closed(): boolean {
    return this.#closing.signal.aborted;
  }

  policy(name: string, definition: PolicyDefinition): Policy {
    this.#assertOpen();
    const existing = this.#policies.get(policyName('pipeline', name));
    if (existing === undefined) return this.#add(name, definition);
    existing.update(definition);
    this.#report(existing);
    return existing;
  }

  get(name: string): Policy {
    return this.#find(name);
  }

  update(name: string, definition: PolicyDefinition): void {
    this.#assertOpen();
    const policy = this.#find(name);
    policy.update(definition);
    this.#report(policy);
  }

  names(): readonly string[] {
    return [...this.#policies.keys()];
  }

  definition(name: string): PolicyDefinition {
    return this.#find(name).definition;
  }

  stats(): ResilienceStats {
    return {
      policies: Object.fromEntries([...this.#policies].map(([name, policy]) => [name, policy.stats()])),
      listenerErrors: this.#listenerErrors,
    };
  }

  analyze(): RetryAnalysis {
    return analyzeStats(this.stats().policies);
  }

  healthIndicator(): HealthIndicator {
    return {
      name: 'resilience',
      check: async () => {
        if (this.#shared?.connected === false) return { status: 'degraded', code: 'REDIS_UNAVAILABLE' };
        const open = [...this.#policies.values()].some((policy) => policy.refuses);
        return open ? { status: 'degraded', code: 'CIRCUIT_OPEN' } : { status: 'healthy' };
      },
    };
  }

  async close(options: CloseOptions = {}): Promise<void> {
    this.#closing.abort();
    await Promise.all([this.#shared?.close(options), this.#store?.close(options)]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #add(name: string, definition: PolicyDefinition): NamedPolicy {
    const duration = this.#metrics?.duration(name);
    const policy = new NamedPolicy(
      name,
      definition,
      this.#surroundings,
      duration && ((_, durationMs) => duration.observe(durationMs / 1_000)),
    );
    this.#policies.set(name, policy);
    this.#report(policy);
    return policy;
  }

  #watch(policy: Policy<unknown>): void {
    this.#metrics?.add(policy);
    if (policy.kind === 'retry') (policy as RetryPolicy).on('retry', (event) => this.emit('retry', event));
    if (policy.kind !== 'circuitBreaker') return;
    (policy as CircuitBreakerPolicy).on('transition', (transition) => {
      const { breaker, from, to, reason } = transition;
      this.#logger.warn({ breaker, from, to, reason }, 'a circuit changed');
      this.emit('transition', transition);
    });
  }

  #report(policy: NamedPolicy): void {
    for (const { rule, message } of policy.current.warnings)
      this.#logger.warn({ policy: policy.name, rule }, message);
  }

  #find(name: string): NamedPolicy {
    const policy = this.#policies.get(name);
    if (policy === undefined) throw new UnknownPolicyError(name, this.names());
    return policy;
  }

  #assertOpen(): void {
    if (this.closed) throw new ManagerClosedError();
  }
}
