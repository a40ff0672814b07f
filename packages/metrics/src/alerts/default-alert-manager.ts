import {
  Background,
  InvalidOptionError,
  IsolatedEmitter,
  noopMetrics,
  silentLogger,
  systemClock,
  toMilliseconds,
  withTimeout,
  type Clock,
  type CloseOptions,
  type Duration,
  type HealthIndicator,
  type Logger,
  type Timer,
} from '@xiaoke/core';
import type { QueryResult } from '../store/promql/query.ts';
import type { AlertEvents, AlertManager, AlertManagerOptions, AlertStats } from './alert-manager.ts';
import { alertApi, countStates, groupApi, type EvaluatedGroup } from './alerts-api.ts';
import { memoryState, type AlertStateStorage, type SavedState } from './alert-state.ts';
import { Notifier, type NotifierOptions } from './notifier.ts';
import { printRules } from './rule-yaml.ts';
import { StateKeeper } from './state-keeper.ts';
import { RuleState, type Alert, type RuleSample } from './rule-state.ts';
import { groupsOf } from './rule-input.ts';
import { compileGroups, type CompiledRule, type RuleGroup } from './rules.ts';
import { matcherOf, Silences, type LabelMatch, type Silence } from './silences.ts';
import type { AlertSink, AlertSinkOption } from './sinks/sink.ts';

interface Group extends EvaluatedGroup {
  evaluatedAt: number;
}

// How long a source may take for one rule, in milliseconds.
const RULE_TIMEOUT = 15_000;
// Evaluations for which a restored alert is believed.
const RESTORE_GRACE = 3;

class DefaultAlertManager extends IsolatedEmitter<AlertEvents> implements AlertManager {
  readonly #options: AlertManagerOptions;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #interval: number;
  readonly #rules: readonly RuleGroup[];
  readonly #groups: readonly Group[];
  readonly #silences = new Silences();
  readonly #notifiers: readonly Notifier[];
  readonly #storage: AlertStateStorage;
  readonly #state: StateKeeper;
  readonly #background: Background;
  readonly #inhibit: readonly ((alert: Alert, firing: readonly Alert[]) => boolean)[];
  readonly #gauge;
  #timer: Timer | undefined;
  #running: Promise<void> | undefined;
  #closing: Promise<void> | undefined;
  #evaluations = 0;
  #failures = 0;
  #sent = 0;
  #sinkFailures = 0;

  constructor(options: AlertManagerOptions) {
    super({ logger: options.logger });
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#logger = options.logger ?? silentLogger;
    this.#interval = toMilliseconds(options.interval ?? '15s', 'interval', { min: 10 });
    if (typeof options.source?.query !== 'function') {
      throw new InvalidOptionError('source', 'must be able to query');
    }
    this.#rules = groupsOf(options.rules);
    this.#groups = compileGroups(this.#rules).map(({ name, interval, rules }) => ({
      name,
      interval: interval ?? this.#interval,
      rules: rules.map((compiled) => {
        return { compiled, state: 'alert' in compiled.rule ? new RuleState(compiled) : undefined };
      }),
      evaluatedAt: -Infinity,
    }));
    this.#storage = options.state ?? memoryState();
    this.#background = new Background({ logger: this.#logger });
    this.#state = new StateKeeper({
      storage: this.#storage,
      background: this.#background,
      logger: this.#logger,
      restore: (saved) => this.#restore(saved),
      current: () => this.#current(),
    });
    this.#inhibit = (options.inhibit ?? []).map(({ source, target, equal = [] }, i) => {
      const [ofSource, ofTarget] = [
        matcherOf(source, `inhibit[${i}].source`),
        matcherOf(target, `inhibit[${i}].target`),
      ];
      return (alert, firing) =>
        ofTarget(alert.labels) &&
        firing.some(
          (other) =>
            other !== alert &&
            ofSource(other.labels) &&
            equal.every((name) => other.labels[name] === alert.labels[name]),
        );
    });
    this.#notifiers = this.#makeNotifiers(namedSinks(options.sinks ?? []));
    this.#gauge = (options.metrics ?? noopMetrics).gauge({
      name: 'xiaoke_alerts',
      help: 'Alerts by state.',
      labels: { alert: String, severity: String, state: ['pending', 'firing'] },
    });
    this.#arm();
  }

  get closed(): boolean {
    return this.#closing !== undefined;
  }

  active(): readonly Alert[] {
    return this.#alerts().filter(({ state }) => state !== 'resolved');
  }

  async evaluate(now: number = this.#clock.now()): Promise<void> {
    await this.#inTurn(now, false);
  }

  silence(
    match: LabelMatch,
    duration: Duration,
    note: { readonly author?: string; readonly comment?: string } = {},
  ): Silence {
    return this.#silences.add(match, duration, this.#clock.now(), note);
  }

  unsilence(id: string): boolean {
    return this.#silences.remove(id);
  }

  silences(): readonly Silence[] {
    return this.#silences.list(this.#clock.now());
  }

  toPrometheusRules(): string {
    return printRules(this.#rules);
  }

  rulesApi(): object {
    return { groups: this.#groups.map(groupApi) };
  }

  alertsApi(): object {
    return { alerts: this.active().map(alertApi) };
  }

  stats(): AlertStats {
    const active = this.active();
    const firing = active.filter(({ state }) => state === 'firing').length;
    return {
      rules: this.#groups.reduce((total, { rules }) => total + rules.length, 0),
      pending: active.length - firing,
      firing,
      evaluations: this.#evaluations,
      failures: this.#failures,
      sent: this.#sent,
      sinkFailures: this.#sinkFailures,
    };
  }

  healthIndicator(): HealthIndicator {
    const critical = (): boolean =>
      this.active().some(({ state, labels }) => state === 'firing' && labels['severity'] === 'critical');
    return {
      name: 'alerts',
      check: () =>
        Promise.resolve(
          critical() ? { status: 'degraded', code: 'CRITICAL_ALERT_FIRING' } : { status: 'healthy' },
        ),
    };
  }

  close(options: CloseOptions = {}): Promise<void> {
    this.#closing ??= this.#close(toMilliseconds(options.timeout ?? 5_000, 'timeout'));
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(timeout: number): Promise<void> {
    this.#timer?.cancel();
    for (const notifier of this.#notifiers) notifier.close();
    await this.#background.settled(timeout / 2);
    const last = new Background({ logger: this.#logger });
    last.run(() => this.#state.close(), 'save the alerts');
    await last.settled(timeout / 2);
  }

  async #inTurn(now: number, dueOnly: boolean): Promise<void> {
    await this.#state.load();
    // One at a time, in order: a rule reads what an earlier one recorded.
    const turn = (this.#running ?? Promise.resolve()).then(() => this.#evaluate(now, dueOnly));
    this.#running = turn.catch(() => {});
    await turn;
  }

  #arm(): void {
    if (this.closed) return;
    const delay = this.#interval - (this.#clock.now() % this.#interval);
    const turn = async (): Promise<void> => {
      try {
        await this.#inTurn(this.#clock.now(), true);
      } finally {
        this.#arm();
      }
    };
    this.#timer = this.#clock
      .setTimeout(() => this.#background.run(turn, 'evaluate alert rules'), delay)
      .unref();
  }

  #restore(saved: SavedState): void {
    const states = this.#groups.flatMap(({ rules }) => rules.map(({ state }) => state));
    const trustedUntil = this.#clock.now() + RESTORE_GRACE * this.#interval;
    for (const alert of saved.alerts) {
      const owner = states.find((state) => state?.owns(alert));
      owner?.restore(alert, trustedUntil);
    }
    for (const silence of saved.silences) this.#silences.restore(silence);
    for (const notifier of this.#notifiers) notifier.restore(saved.told);
  }

  #current(): SavedState {
    const now = this.#clock.now();
    return {
      savedAt: now,
      alerts: this.#alerts(),
      silences: this.#silences.list(now),
      told: Object.assign({}, ...this.#notifiers.map(({ told }) => told)) as SavedState['told'],
    };
  }

  async #evaluate(now: number, dueOnly: boolean): Promise<void> {
    for (const group of this.#groups) {
      // By turns rather than by time passed: a timer that is a little late must not make the next turn too early.
      const turn = (at: number): number => Math.floor(at / group.interval);
      if (dueOnly && turn(now) === turn(group.evaluatedAt)) continue;
      group.evaluatedAt = now;
      for (const rule of group.rules) await this.#evaluateRule(rule, now);
    }
    this.#evaluations += 1;
    this.#publish();
    const audible = this.#audible(now);
    for (const notifier of this.#notifiers) notifier.review(audible, now);
    this.#state.saveSoon();
  }

  async #evaluateRule({ compiled, state }: Group['rules'][number], now: number): Promise<void> {
    const { source, externalLabels = {} } = this.#options;
    if (state === undefined && source.append === undefined) return;
    try {
      const answer = source.query(compiled.rule.expr, { time: now });
      const samples = samplesOf(await withTimeout(answer, RULE_TIMEOUT, 'a rule', { ref: false }));
      if (state === undefined) await this.#record(compiled, samples, now);
      else for (const alert of state.update(samples, now, externalLabels)) this.#announce(alert);
    } catch (error) {
      this.#failures += 1;
      if (state !== undefined) state.lastError = error instanceof Error ? error.message : 'failed';
      this.#logger.warn({ err: error, expr: compiled.rule.expr }, 'a rule could not be evaluated');
    }
  }

  async #record({ rule, labels }: CompiledRule, samples: readonly RuleSample[], now: number): Promise<void> {
    if (!('record' in rule)) return;
    const recorded = samples.map(({ labels: own, value }) => {
      const extra = labels.map(([name, template]) => [name, template({ labels: own, value })] as const);
      return {
        labels: { ...own, ...Object.fromEntries(extra), __name__: rule.record },
        value,
        kind: 'gauge' as const,
      };
    });
    await this.#options.source.append?.(now, recorded, `rule ${rule.record}`);
  }

  #announce(alert: Alert): void {
    if (alert.state === 'firing') this.emit('firing', alert);
    else if (alert.state === 'resolved') this.emit('resolved', alert);
  }

  #audible(now: number): readonly Alert[] {
    const alerts = this.#alerts();
    const firing = alerts.filter(({ state }) => state === 'firing');
    return alerts.filter(
      (alert) =>
        this.#silences.covering(alert.labels, now) === undefined &&
        !this.#inhibit.some((inhibits) => inhibits(alert, firing)),
    );
  }

  #publish(): void {
    const states = this.#groups.flatMap(({ rules }) => rules.flatMap(({ state }) => state ?? []));
    for (const { alert, severity, pending, firing } of countStates(states)) {
      this.#gauge.set({ alert, severity, state: 'pending' }, pending);
      this.#gauge.set({ alert, severity, state: 'firing' }, firing);
    }
  }

  #alerts(): readonly Alert[] {
    return this.#groups.flatMap(({ rules }) => rules.flatMap(({ state }) => state?.alerts ?? []));
  }

  #makeNotifiers(sinks: readonly AlertSink[]): readonly Notifier[] {
    const { groupBy = ['alertname'], groupWait, groupInterval, repeatInterval, sinkTimeout } = this.#options;
    const shared: NotifierOptions = {
      groupBy,
      groupWait: toMilliseconds(groupWait ?? '10s', 'groupWait'),
      groupInterval: toMilliseconds(groupInterval ?? '1m', 'groupInterval'),
      repeatInterval: toMilliseconds(repeatInterval ?? '4h', 'repeatInterval', { min: 1 }),
      sinkTimeout: toMilliseconds(sinkTimeout ?? '10s', 'sinkTimeout', { min: 1 }),
      attempts: 5,
      clock: this.#clock,
      logger: this.#logger,
      background: this.#background,
      storage: this.#storage,
      onSent: (_sink, outcome) => {
        if (outcome === 'sent') this.#sent += 1;
        else this.#sinkFailures += 1;
      },
    };
    return sinks.map((sink) => new Notifier(sink, shared));
  }
}

/**
 * Makes an alert manager; it evaluates at every `interval` from now on.
 *
 * @throws `INVALID_OPTION`, `PROMQL_SYNTAX`, `PROMQL_UNSUPPORTED`
 * @example
 * ```ts
 * import { createAlertManager } from '@xiaoke/metrics/alerts';
 * import { createTimeSeriesStore } from '@xiaoke/metrics/store';
 * const store = createTimeSeriesStore();
 * const rules = [{ name: 'demo', rules: [{ alert: 'Always', expr: 'vector(1)' }] }];
 * const alerts = createAlertManager({ rules, source: store });
 * alerts.on('firing', (alert) => console.log(alert.name));
 * await alerts.evaluate(); // => Always
 * await alerts.close();
 * await store.close();
 * ```
 */
export function createAlertManager(options: AlertManagerOptions): AlertManager {
  return new DefaultAlertManager(options);
}

function namedSinks(options: readonly AlertSinkOption[]): readonly AlertSink[] {
  const taken = new Map<string, number>();
  return options.map((option, i) => {
    const sink = toSink(option, i);
    const count = (taken.get(sink.name) ?? 0) + 1;
    taken.set(sink.name, count);
    return count === 1 ? sink : { ...sink, send: sink.send.bind(sink), name: `${sink.name}-${count}` };
  });
}

function toSink(option: AlertSinkOption, i: number): AlertSink {
  if (typeof option === 'function') {
    return {
      name: 'callback',
      send: async (notification, context) => {
        await option(notification, context);
      },
    };
  }
  if (typeof option?.send !== 'function' || typeof option.name !== 'string')
    throw new InvalidOptionError(`sinks[${i}]`, 'must be a function or a sink');
  return option;
}

function samplesOf(result: QueryResult): readonly RuleSample[] {
  if (result.type === 'scalar') return [{ labels: {}, value: result.point[1] }];
  if (result.type !== 'vector') return [];
  return result.series.map(({ labels, points }) => ({ labels, value: points[0]?.[1] ?? NaN }));
}
