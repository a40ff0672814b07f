import type { Background, Clock, HealthStatus, Logger, Random, Timer } from '@xiaoke/core';
import type { CheckOutcome } from './check-result.ts';
import { CheckRunner, type RunResult } from './check-run.ts';
import { CheckState } from './check-state.ts';
import type { HealthChecker } from './checker.ts';
import { History } from './history.ts';
import type { ResolvedConfig } from './options.ts';
import { Recovery, type RecoveryEvent } from './recovery.ts';
import type { CheckRecord, CheckSnapshot, Uptime } from './snapshot.ts';

/** What a monitored check needs from its manager. */
export interface CheckHost {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly background: Background;
  /** The status of another check, for `dependsOn`. */
  statusOf(name: string): HealthStatus | undefined;
  onRun(check: MonitoredCheck, record: CheckRecord): void;
  onChange(check: MonitoredCheck, from: HealthStatus, to: HealthStatus): void;
  onFlapping(check: MonitoredCheck): void;
  onRecovery(check: MonitoredCheck, event: RecoveryEvent): void;
}

/** One registered check: when it runs, what its results come to, and what is remembered of it. */
export class MonitoredCheck {
  readonly name: string;
  readonly config: ResolvedConfig;
  readonly checker: HealthChecker;
  readonly #host: CheckHost;
  readonly #runner: CheckRunner;
  readonly #state: CheckState;
  readonly #history: History;
  readonly #recovery: Recovery | undefined;
  readonly #closing = new AbortController();
  #running: Promise<CheckSnapshot> | undefined;
  #timer: Timer | undefined;
  #scheduled = false;
  #last:
    | (CheckRecord & { readonly monotonic: number; readonly observed: CheckOutcome['observed'] })
    | undefined;
  #announced: HealthStatus = 'unknown';
  #since: number | undefined;

  constructor(name: string, checker: HealthChecker, config: ResolvedConfig, host: CheckHost) {
    this.name = name;
    this.checker = checker;
    this.config = config;
    this.#host = host;
    this.#runner = new CheckRunner(checker, host.clock, () => this.#soon());
    this.#state = new CheckState(config);
    this.#history = new History(config.history);
    this.#recovery =
      config.recover && new Recovery(config.recover, host, (event) => host.onRecovery(this, event));
  }

  get critical(): boolean {
    return this.config.critical;
  }

  get status(): HealthStatus {
    return this.#outcome().status;
  }

  snapshot(): CheckSnapshot {
    const { status, code } = this.#outcome();
    const last = this.#last;
    return {
      name: this.name,
      status,
      code,
      critical: this.config.critical,
      groups: this.config.groups,
      checkedAt: last?.at,
      ageSeconds: last === undefined ? undefined : this.#age(last) / 1_000,
      durationMs: last?.durationMs,
      since: this.#since,
      consecutiveFailures: this.#state.consecutiveFailures,
      flapping: this.#state.flapping,
      observed: last?.observed,
    };
  }

  records(): CheckRecord[] {
    return this.#history.records();
  }

  uptime(windowMs: number): Uptime {
    return this.#history.uptime(this.#host.clock.now(), windowMs);
  }

  /** Runs it now, or joins the run that is under way. Never rejects. */
  run(): Promise<CheckSnapshot> {
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
      if (this.#scheduled) this.#arm(this.#nextDelay());
    });
    return this.#running;
  }

  /** Begins to run it by itself, the first time at once. */
  start(): Promise<CheckSnapshot> {
    this.#scheduled = true;
    return this.run();
  }

  /** Notices that its last result has become too old, without running it. */
  refresh(): void {
    this.#announce();
  }

  async close(): Promise<void> {
    this.#scheduled = false;
    this.#timer?.cancel();
    this.#closing.abort(new DOMException('The manager closed', 'AbortError'));
    await this.#running;
    await this.checker.close?.();
  }

  async #run(): Promise<CheckSnapshot> {
    this.#timer?.cancel();
    if (this.#parentDown()) {
      this.#announce();
      return this.snapshot();
    }
    this.#record(await this.#result());
    const snapshot = this.snapshot();
    if (!this.#closing.signal.aborted) this.#recovery?.consider(snapshot, this.#closing.signal);
    return snapshot;
  }

  async #result(): Promise<RunResult> {
    // An earlier run ignored its deadline and is still there; another one beside it would pile up.
    if (this.#runner.pending) {
      return { outcome: { status: 'unhealthy', code: 'STILL_RUNNING' }, durationMs: 0, selfStall: false };
    }
    return await this.#runner.run(this.config.timeoutMs, this.#closing.signal);
  }

  #record({ outcome, durationMs, selfStall }: RunResult): void {
    if (this.#closing.signal.aborted) return;
    if (selfStall) {
      // Nothing was learnt about the dependency: our own loop was blocked. Look again at once.
      this.#host.logger.warn(
        { check: this.name, durationMs },
        'a health check was late because this process was blocked',
      );
      this.#soon();
      return;
    }
    const at = this.#host.clock.now();
    const { status, code } = outcome;
    const record: CheckRecord = { at, durationMs, status, code };
    this.#last = { ...record, monotonic: this.#host.clock.monotonic(), observed: outcome.observed };
    this.#history.add(record);
    const flapped = this.#state.add(outcome);
    this.#host.onRun(this, record);
    if (flapped) this.#host.onFlapping(this);
    this.#announce();
  }

  #announce(): void {
    const from = this.#announced;
    const to = this.status;
    if (from === to) return;
    this.#announced = to;
    this.#since = this.#host.clock.now();
    this.#history.changed(this.#since, to);
    this.#host.onChange(this, from, to);
  }

  #outcome(): CheckOutcome {
    const last = this.#last;
    if (this.#parentDown()) return { status: 'unknown', code: 'PARENT_DOWN' };
    if (last === undefined) return { status: 'unknown', code: 'NOT_CHECKED' };
    if (this.#age(last) > this.config.maxAgeMs) return { status: 'unknown', code: 'STALE' };
    return this.#state.outcome;
  }

  #age(last: { readonly monotonic: number }): number {
    return this.#host.clock.monotonic() - last.monotonic;
  }

  #parentDown(): boolean {
    return this.config.dependsOn.some((parent) => this.#host.statusOf(parent) === 'unhealthy');
  }

  #nextDelay(): number {
    const { intervalMs, failingIntervalMs, jitter } = this.config;
    const base = this.#state.consecutiveFailures > 0 ? failingIntervalMs : intervalMs;
    return base * (1 - jitter * this.#host.random());
  }

  #soon(): void {
    if (this.#scheduled) this.#arm(0);
  }

  #arm(delay: number): void {
    this.#timer?.cancel();
    this.#timer = this.#host.clock
      .setTimeout(() => this.#host.background.run(() => this.run(), `check ${this.name}`), delay)
      .unref();
  }
}
