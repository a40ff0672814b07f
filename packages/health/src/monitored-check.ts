import type { Background, Clock, HealthStatus, Logger, Random } from '@xiaoke/core';
import type { CheckOutcome } from './check-result.ts';
import { CheckRunner, type RunResult } from './check-run.ts';
import { CheckState } from './check-state.ts';
import type { HealthChecker } from './checker.ts';
import { History } from './history.ts';
import type { ResolvedConfig } from './options.ts';
import { Recovery, type RecoveryEvent } from './recovery.ts';
import type { CheckRecord, CheckSnapshot, Uptime } from './snapshot.ts';
import type { Due, TimerQueue } from './timer-queue.ts';

/** What a monitored check needs from its manager. */
export interface CheckHost {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly background: Background;
  /** When checks run. */
  readonly schedule: TimerQueue;
  /** When runs are given up. */
  readonly deadlines: TimerQueue;
  /** The status of another check, for `dependsOn`. */
  statusOf(name: string): HealthStatus | undefined;
  onRun(check: MonitoredCheck, record: CheckRecord): void;
  /** What a report says of it is another word now. */
  onOutcome(): void;
  onChange(check: MonitoredCheck, from: HealthStatus, to: HealthStatus): void;
  onFlapping(check: MonitoredCheck): void;
  onRecovery(check: MonitoredCheck, event: RecoveryEvent): void;
}

/** Runs are not spread more finely than this, in milliseconds, nor than a tenth of their interval. */
const GRAIN = 20;

const NOT_CHECKED: CheckOutcome = Object.freeze({ status: 'unknown', code: 'NOT_CHECKED' });
const PARENT_DOWN: CheckOutcome = Object.freeze({ status: 'unknown', code: 'PARENT_DOWN' });
const STALE: CheckOutcome = Object.freeze({ status: 'unknown', code: 'STALE' });
const STILL_RUNNING: CheckOutcome = Object.freeze({ status: 'unhealthy', code: 'STILL_RUNNING' });

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
  readonly #waiting: ((snapshot: CheckSnapshot) => void)[] = [];
  readonly #onEnded = (result: RunResult): void => this.#ended(result);
  readonly #grain: number;
  readonly #onTimer = (): void => this.#begin();
  #busy = false;
  /** Nothing was learnt, or something is back: the next run does not wait. */
  #again = false;
  /** The next run; an earlier one is dropped, not taken back. */
  #next: NextRun | undefined;
  #scheduled = false;
  #lastAt: number | undefined;
  #lastMonotonic = 0;
  #lastDurationMs: number | undefined;
  #lastObserved: CheckOutcome['observed'];
  #announced: HealthStatus = 'unknown';
  #reported: CheckOutcome = NOT_CHECKED;
  #since: number | undefined;

  constructor(name: string, checker: HealthChecker, config: ResolvedConfig, host: CheckHost) {
    this.name = name;
    this.checker = checker;
    this.config = config;
    this.#host = host;
    this.#runner = new CheckRunner(checker, host, () => this.soon());
    this.#state = new CheckState(config);
    this.#grain = Math.max(1, Math.min(GRAIN, config.intervalMs / 10, config.failingIntervalMs / 10));
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

  /** The status that was told last. */
  get announced(): HealthStatus {
    return this.#announced;
  }

  /** The word that a report has for it. */
  get outcome(): CheckOutcome {
    return this.#outcome();
  }

  /** Until when that word can only change by a run, of this check or of a parent; monotonic. */
  get validUntil(): number {
    const until = this.#lastAt === undefined ? Infinity : this.#lastMonotonic + this.config.maxAgeMs;
    return until < this.#host.clock.monotonic() ? Infinity : until;
  }

  snapshot(): CheckSnapshot {
    const { status, code } = this.#outcome();
    return {
      name: this.name,
      status,
      code,
      critical: this.config.critical,
      groups: this.config.groups,
      checkedAt: this.#lastAt,
      ageSeconds: this.#lastAt === undefined ? undefined : this.#ageMs() / 1_000,
      durationMs: this.#lastDurationMs,
      since: this.#since,
      consecutiveFailures: this.#state.consecutiveFailures,
      flapping: this.#state.flapping,
      observed: this.#lastObserved,
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
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      this.#begin();
    });
  }

  /** Begins to run it by itself, the first time at once. */
  start(): Promise<CheckSnapshot> {
    this.#scheduled = true;
    return this.run();
  }

  /** Runs it at once, where it runs by itself, such as when a parent is back. */
  soon(): void {
    this.#again = true;
    if (this.#scheduled && !this.#busy) this.#arm(0);
  }

  /** Notices that its last result has become too old, without running it. */
  refresh(): void {
    this.#announce();
  }

  async close(): Promise<void> {
    this.#scheduled = false;
    this.#unarm();
    this.#closing.abort(new DOMException('The manager closed', 'AbortError'));
    this.#runner.stop('CLOSED');
    await this.checker.close?.();
  }

  #begin(): void {
    if (this.#busy) return;
    this.#busy = true;
    this.#again = false;
    this.#unarm();
    if (this.#closing.signal.aborted || this.#parentDown()) {
      this.#tell(() => this.#announce());
      this.#done();
    } else if (this.#runner.pending) {
      // An earlier run ignored its deadline and is still there; another one beside it would pile up.
      this.#ended({ outcome: STILL_RUNNING, durationMs: 0, selfStall: false });
    } else this.#runner.run(this.config.timeoutMs, this.#onEnded);
  }

  #ended(result: RunResult): void {
    this.#tell(() => {
      this.#record(result);
      if (this.#recovery !== undefined && !this.#closing.signal.aborted)
        this.#recovery.consider(this.snapshot(), this.#closing.signal);
    });
    this.#done();
  }

  // A sink or a listener that fails must not end the checking.
  #tell(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#host.logger.error({ err: error, check: this.name }, 'the result of a check could not be told');
    }
  }

  #done(): void {
    this.#busy = false;
    if (this.#scheduled) this.#arm(this.#again ? 0 : this.#nextDelay());
    if (this.#waiting.length === 0) return;
    const snapshot = this.snapshot();
    for (const resolve of this.#waiting.splice(0)) resolve(snapshot);
  }

  #record({ outcome, durationMs, selfStall }: RunResult): void {
    if (this.#closing.signal.aborted) return;
    if (selfStall) {
      // Nothing was learnt about the dependency: our own loop was blocked. Look again at once.
      this.#host.logger.warn(
        { check: this.name, durationMs },
        'a health check was late because this process was blocked',
      );
      this.#again = true;
      return;
    }
    const at = this.#host.clock.now();
    const { status, code } = outcome;
    const record: CheckRecord = { at, durationMs, status, code };
    this.#lastAt = at;
    this.#lastMonotonic = this.#host.clock.monotonic();
    this.#lastDurationMs = durationMs;
    this.#lastObserved = outcome.observed;
    this.#history.add(record);
    const flapped = this.#state.add(outcome);
    this.#host.onRun(this, record);
    if (flapped) this.#host.onFlapping(this);
    this.#announce();
  }

  #announce(): void {
    const from = this.#announced;
    const now = this.#outcome();
    const to = now.status;
    if (to !== this.#reported.status || now.code !== this.#reported.code) {
      this.#reported = now;
      this.#host.onOutcome();
    }
    if (from === to) return;
    this.#announced = to;
    this.#since = this.#host.clock.now();
    this.#history.changed(this.#since, to);
    this.#host.onChange(this, from, to);
  }

  #outcome(): CheckOutcome {
    if (this.#parentDown()) return PARENT_DOWN;
    if (this.#lastAt === undefined) return NOT_CHECKED;
    if (this.#ageMs() > this.config.maxAgeMs) return STALE;
    return this.#state.outcome;
  }

  #ageMs(): number {
    return this.#host.clock.monotonic() - this.#lastMonotonic;
  }

  #parentDown(): boolean {
    return this.config.dependsOn.some((parent) => this.#host.statusOf(parent) === 'unhealthy');
  }

  #nextDelay(): number {
    const { intervalMs, failingIntervalMs, jitter } = this.config;
    const base = this.#state.consecutiveFailures > 0 ? failingIntervalMs : intervalMs;
    return base * (1 - jitter * this.#host.random());
  }

  #arm(delay: number): void {
    this.#unarm();
    const { clock, schedule } = this.#host;
    const now = clock.monotonic();
    // Runs that are due about the same time share one wake-up, which costs more than a run.
    const due = delay === 0 ? now : Math.ceil((now + delay) / this.#grain) * this.#grain;
    this.#next = new NextRun(due, this.#onTimer);
    schedule.add(this.#next);
  }

  #unarm(): void {
    if (this.#next !== undefined) this.#next.wanted = false;
    this.#next = undefined;
  }
}

class NextRun implements Due {
  readonly dueAt: number;
  readonly fire: () => void;
  wanted = true;

  constructor(dueAt: number, fire: () => void) {
    this.dueAt = dueAt;
    this.fire = fire;
  }
}
