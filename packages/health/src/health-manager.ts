import {
  Background,
  CallbackSet,
  InvalidOptionError,
  IsolatedEmitter,
  toMilliseconds,
  withTimeout,
  type CloseOptions,
  type Duration,
  type HealthIndicator,
  type HealthStatus,
} from '@xiaoke/core';
import { aggregate, Tally } from './aggregate.ts';
import type { CheckResult } from './check-result.ts';
import type { CheckContext, HealthChecker } from './checker.ts';
import { CustomHealthChecker } from './checkers/custom.ts';
import {
  DatabaseHealthChecker,
  type DatabaseCheckerOptions,
  type DatabaseTarget,
} from './checkers/database.ts';
import { HttpHealthChecker, type HttpCheckerOptions } from './checkers/http.ts';
import { RedisHealthChecker, type RedisCheckerOptions, type RedisTarget } from './checkers/redis.ts';
import { HealthError } from './errors.ts';
import type { HealthEvents } from './events.ts';
import type {
  CheckOptions,
  HealthCheckManager,
  HealthStats,
  StatusCallback,
  StatusFilter,
} from './manager.ts';
import { HealthMetrics } from './metrics.ts';
import { MonitoredCheck, type CheckHost } from './monitored-check.ts';
import { resolveConfig, type ResolvedManagerOptions } from './options.ts';
import { makeDetailedReport, makePublicReport, type HealthReport } from './report.ts';
import type { CheckRecord, CheckSnapshot, StatusChange, Uptime } from './snapshot.ts';
import { TimerQueue } from './timer-queue.ts';

/** A public report, and until when it cannot have changed by age alone. */
interface Answer {
  readonly report: HealthReport;
  readonly until: number;
}

interface Subscription {
  readonly filter: StatusFilter;
  readonly callbacks: CallbackSet<Parameters<StatusCallback>>;
}

const CLOSE_TIMEOUT = 5_000;
const REFRESH_EVERY = 1_000;

/** The manager behind {@link createHealthCheckManager}. */
export class HealthManager extends IsolatedEmitter<HealthEvents> implements HealthCheckManager {
  readonly #options: ResolvedManagerOptions;
  readonly #checks = new Map<string, MonitoredCheck>();
  readonly #subscriptions = new Set<Subscription>();
  readonly #background: Background;
  readonly #schedule: TimerQueue;
  readonly #deadlines: TimerQueue;
  readonly #closing = new AbortController();
  readonly #metrics: HealthMetrics;
  readonly #counts = { runs: 0, failures: 0, timeouts: 0, changes: 0, callbackErrors: 0 };
  readonly #announced = new Map<string, HealthStatus>();
  /** What was announced of the checks, by group, `''` for all. */
  readonly #tallies = new Map<string, Tally>([['', new Tally()]]);
  /** By group, `''` for all; emptied when a word changes, so that to read one costs a lookup. */
  readonly #answers = new Map<string, Answer>();
  #started = false;
  #shuttingDown = false;
  #stopRefreshing = (): void => {};
  #close: Promise<void> | undefined;

  constructor(options: ResolvedManagerOptions) {
    super({ logger: options.logger, onListenerError: () => void (this.#counts.callbackErrors += 1) });
    this.#options = options;
    this.#background = new Background({ logger: options.logger });
    this.#schedule = new TimerQueue(options.clock);
    this.#deadlines = new TimerQueue(options.clock);
    const measured = { list: () => this.#measured(), overall: () => this.status() };
    this.#metrics = new HealthMetrics(options.metrics, measured, this.#closing.signal);
  }

  get closed(): boolean {
    return this.#close !== undefined;
  }

  registerDatabaseChecker(
    name: string,
    target: DatabaseTarget,
    options: DatabaseCheckerOptions & CheckOptions = {},
  ): this {
    return this.registerChecker(name, new DatabaseHealthChecker('database', target, options), options);
  }

  registerRedisChecker(
    name: string,
    target: RedisTarget,
    options: RedisCheckerOptions & CheckOptions = {},
  ): this {
    return this.registerChecker(name, new RedisHealthChecker('redis', target, options), options);
  }

  registerHttpChecker(
    name: string,
    url: string | URL,
    options: HttpCheckerOptions & CheckOptions = {},
  ): this {
    return this.registerChecker(name, new HttpHealthChecker('http', url, options), options);
  }

  registerCustomChecker(
    name: string,
    check: (context: CheckContext) => CheckResult | Promise<CheckResult>,
    options: CheckOptions & { readonly kind?: HealthChecker['kind'] } = {},
  ): this {
    return this.registerChecker(name, new CustomHealthChecker(check, options.kind), options);
  }

  registerIndicator(indicator: HealthIndicator, options: CheckOptions = {}): this {
    if (typeof indicator?.check !== 'function')
      throw new InvalidOptionError('indicator', 'must have a check function');
    const check = (context: CheckContext): Promise<CheckResult> =>
      indicator.check({ signal: context.signal });
    return this.registerChecker(indicator.name, new CustomHealthChecker(check, 'dependency'), options);
  }

  registerChecker(
    first: string | HealthChecker,
    second?: HealthChecker | CheckOptions,
    third: CheckOptions = {},
  ): this {
    // The name may stand in front, or be the checker's own.
    if (typeof first === 'string') return this.#register(first, second as HealthChecker, third);
    return this.#register(first?.name, first, (second ?? {}) as CheckOptions);
  }

  unregister(name: string): boolean {
    const check = this.#checks.get(name);
    if (check === undefined) return false;
    this.#checks.delete(name);
    this.#metrics.forget(name);
    this.#tally(check, check.announced, -1);
    this.#answers.clear();
    this.#background.run(() => check.close(), `close the check ${name}`);
    this.#announce(check.config.groups);
    return true;
  }

  addStatusChangeCallback(callback: StatusCallback, filter: StatusFilter = {}): () => void {
    if (typeof callback !== 'function') throw new InvalidOptionError('callback', 'must be a function');
    const subscription: Subscription = { filter, callbacks: this.#callbackSet() };
    subscription.callbacks.add(callback);
    this.#subscriptions.add(subscription);
    return () => {
      this.#subscriptions.delete(subscription);
    };
  }

  async start(): Promise<void> {
    this.#refuseClosed();
    if (this.#started) return;
    this.#started = true;
    const refresh = this.#options.clock.setInterval(() => this.#refresh(), REFRESH_EVERY).unref();
    this.#stopRefreshing = () => refresh.cancel();
    // Parents first, so that a child whose parent is down is not run in vain.
    const first = Promise.all([...this.#checks.values()].map((check) => check.start()));
    const { clock, startTimeoutMs } = this.#options;
    await withTimeout(first, startTimeoutMs, 'the first checks', { clock, ref: false }).catch(() => {});
  }

  async check(name: string): Promise<CheckSnapshot> {
    this.#refuseClosed();
    return await this.#find(name).run();
  }

  status(group?: string): HealthStatus {
    return this.#answer(group).status;
  }

  report(group?: string, options: { readonly details?: boolean } = {}): HealthReport {
    if (options.details !== true) return this.#answer(group);
    const snapshots = this.#members(group).map((check) => check.snapshot());
    return makeDetailedReport(this.status(group), group, snapshots);
  }

  history(name: string): CheckRecord[] {
    return this.#find(name).records();
  }

  uptime(name: string, window: Duration): Uptime {
    return this.#find(name).uptime(toMilliseconds(window, 'window', { min: 1 }));
  }

  snapshots(): readonly CheckSnapshot[] {
    return [...this.#checks.values()].map((check) => check.snapshot());
  }

  stats(): HealthStats {
    return { checks: this.#checks.size, ...this.#counts };
  }

  shutDown(): void {
    this.#shuttingDown = true;
    this.#answers.clear();
    this.#announce(['readiness']);
  }

  close(options: CloseOptions = {}): Promise<void> {
    this.#close ??= this.#closeAll(toMilliseconds(options.timeout ?? CLOSE_TIMEOUT, 'timeout'));
    return this.#close;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #closeAll(timeout: number): Promise<void> {
    this.#stopRefreshing();
    this.#schedule.close();
    this.#closing.abort();
    const closing = Promise.allSettled([...this.#checks.values()].map((check) => check.close()));
    await withTimeout(closing, timeout, 'closing the checks', { ref: true }).catch((error: unknown) =>
      this.#options.logger.warn({ err: error }, 'a health check did not close in time'),
    );
    this.#deadlines.close();
    this.#subscriptions.clear();
  }

  #register(name: string | undefined, checker: HealthChecker, options: CheckOptions): this {
    this.#refuseClosed();
    if (typeof name !== 'string' || name === '')
      throw new InvalidOptionError('name', 'must be a non-empty string');
    if (typeof checker?.check !== 'function')
      throw new InvalidOptionError('checker', 'must have a check function');
    if (this.#checks.has(name))
      throw new HealthError('CHECK_EXISTS', `A check named "${name}" is registered already`);
    const config = resolveConfig(this.#options.defaults, options.config ?? {});
    if (checker.kind === 'dependency' && config.groups.includes('liveness')) {
      throw new InvalidOptionError(
        'config.groups',
        `must not put the dependency "${name}" into liveness: restarting this process cannot mend it`,
      );
    }
    const check = new MonitoredCheck(name, checker, config, this.#host());
    this.#checks.set(name, check);
    this.#answers.clear();
    this.#metrics.register(name);
    this.#tally(check, check.announced, 1);
    if (this.#started) this.#background.run(() => check.start(), `check ${name}`);
    return this;
  }

  #host(): CheckHost {
    const { clock, random, logger } = this.#options;
    return {
      clock,
      random,
      logger,
      background: this.#background,
      schedule: this.#schedule,
      deadlines: this.#deadlines,
      statusOf: (name) => this.#checks.get(name)?.status,
      onRun: ({ name }, record) => {
        this.#counts.runs += 1;
        if (record.status === 'unhealthy') this.#counts.failures += 1;
        if (record.code === 'TIMEOUT') this.#counts.timeouts += 1;
        this.#metrics.ran(name, record);
      },
      onOutcome: () => this.#answers.clear(),
      onChange: (check, from, to) => this.#onChange(check, from, to),
      onFlapping: ({ name }) => void this.emit('flapping', { check: name }),
      onRecovery: ({ name }, event) => void this.emit('recovery', { check: name, ...event }),
    };
  }

  #onChange(check: MonitoredCheck, from: HealthStatus, to: HealthStatus): void {
    this.#counts.changes += 1;
    this.#metrics.changed(check.name, to);
    const { code } = check.snapshot();
    this.#options.logger.info({ check: check.name, from, to, code }, 'the status of a check changed');
    this.#tell({ check: check.name, from, to, code });
    if (from === 'unhealthy') this.#wakeChildren(check.name);
    this.#tally(check, from, -1);
    this.#tally(check, to, 1);
    this.#announce(check.config.groups);
  }

  /** What was not run while its parent was down is run as soon as that is back. */
  #wakeChildren(parent: string): void {
    for (const child of this.#checks.values()) if (child.config.dependsOn.includes(parent)) child.soon();
  }

  #tally({ critical, config }: MonitoredCheck, status: HealthStatus, times: 1 | -1): void {
    for (const group of ['', ...config.groups]) {
      const tally = this.#tallies.get(group) ?? new Tally();
      this.#tallies.set(group, tally);
      tally.add(status, critical, times);
    }
  }

  /** Tells of the overall status and of those of `groups`, where they changed. */
  #announce(groups: readonly string[]): void {
    for (const group of ['', ...groups]) {
      const from = this.#announced.get(group) ?? 'unknown';
      const down = this.#shuttingDown && group === 'readiness';
      const to = down ? 'unhealthy' : (this.#tallies.get(group)?.status ?? 'healthy');
      if (from === to) continue;
      this.#announced.set(group, to);
      this.#tell({ group: group === '' ? undefined : group, from, to });
    }
  }

  #tell(what: Omit<StatusChange, 'at' | 'failing'>): void {
    const told = [...this.#subscriptions].filter(
      ({ filter }) => filter.check === what.check && filter.group === what.group,
    );
    if (told.length === 0 && this.listenerCount('change') === 0) return;
    const change = { at: this.#options.clock.now(), ...what, failing: this.#failing() };
    this.emit('change', change);
    for (const { callbacks } of told)
      this.#background.run(() => callbacks.call(change.from, change.to, change), 'status change callbacks');
  }

  // A result that becomes too old, or a parent that went down, changes a status without any run.
  #refresh(): void {
    for (const check of this.#checks.values()) check.refresh();
  }

  #failing(): readonly string[] {
    return [...this.#checks.values()].filter(({ status }) => status !== 'healthy').map(({ name }) => name);
  }

  #answer(group: string | undefined): HealthReport {
    const key = group ?? '';
    const known = this.#answers.get(key);
    if (known !== undefined && this.#options.clock.monotonic() <= known.until) return known.report;
    const members = this.#members(group);
    const down = this.#shuttingDown && group === 'readiness';
    const report = makePublicReport(down ? 'unhealthy' : aggregate(members), group, members);
    const until = members.reduce((least, { validUntil }) => Math.min(least, validUntil), Infinity);
    // Any text may be asked for as a group; only those that exist are remembered.
    if (members.length > 0 || group === undefined) this.#answers.set(key, { report, until });
    return report;
  }

  #members(group: string | undefined): readonly MonitoredCheck[] {
    const all = [...this.#checks.values()];
    return group === undefined ? all : all.filter((check) => check.config.groups.includes(group));
  }

  *#measured(): Iterable<CheckSnapshot> {
    for (const check of this.#checks.values()) yield check.snapshot();
  }

  #find(name: string): MonitoredCheck {
    const check = this.#checks.get(name);
    if (check === undefined) throw new HealthError('CHECK_UNKNOWN', `There is no check named "${name}"`);
    return check;
  }

  #callbackSet(): CallbackSet<Parameters<StatusCallback>> {
    return new CallbackSet({
      name: 'status change',
      logger: this.#options.logger,
      onError: () => void (this.#counts.callbackErrors += 1),
    });
  }

  #refuseClosed(): void {
    if (this.closed) throw new HealthError('HEALTH_CLOSED', 'The manager is closed');
  }
}
