import type {
  Clock,
  Closeable,
  Duration,
  HealthIndicator,
  IsolatedEmitter,
  Logger,
  MetricsSink,
} from '@xiaoke/core';
import type { IncomingSample } from '../store/sampler.ts';
import type { RuleSource } from '../store/http-api.ts';
import type { QueryResult } from '../store/promql/query.ts';
import type { Labels } from '../store/promql/values.ts';
import type { AlertStateStorage } from './alert-state.ts';
import type { Alert } from './rule-state.ts';
import type { RuleInput } from './rule-input.ts';
import type { InhibitRule, LabelMatch, Silence } from './silences.ts';
import type { AlertSinkOption } from './sinks/sink.ts';

/** Where rules look: the embedded store, or anything that evaluates PromQL. */
export interface AlertSource {
  query(promql: string, at: { readonly time: number }): Promise<QueryResult>;
  /** Takes what recording rules compute. Without it they are left to the source itself. */
  append?(time: number, samples: readonly IncomingSample[], source?: string): Promise<void>;
}

/** How an alert manager behaves. */
export interface AlertManagerOptions {
  /** Groups of rules, rules without a group, or the text of a Prometheus rule file. */
  readonly rules: RuleInput;
  readonly source: AlertSource;
  readonly sinks?: readonly AlertSinkOption[];
  /** How often rules are evaluated. @default '15s' */
  readonly interval?: Duration;
  /** Added to every alert. */
  readonly externalLabels?: Labels;
  /** Alerts with the same values of these labels are told together. @default ['alertname'] */
  readonly groupBy?: readonly string[];
  /** How long a new group waits for company. @default '10s' */
  readonly groupWait?: Duration;
  /** Least time between two notifications of a group. @default '1m' */
  readonly groupInterval?: Duration;
  /** When an alert that goes on firing is told again. @default '4h' */
  readonly repeatInterval?: Duration;
  readonly inhibit?: readonly InhibitRule[];
  /** Where alerts, silences and what was told are kept. @default memoryState() */
  readonly state?: AlertStateStorage;
  /** How long one sink may take; it is tried five times. @default '10s' */
  readonly sinkTimeout?: Duration;
  readonly metrics?: MetricsSink;
  readonly logger?: Logger;
  readonly clock?: Clock;
}

/** The events of an alert manager. */
export interface AlertEvents {
  firing: [alert: Alert];
  resolved: [alert: Alert];
}

/** What an alert manager did. */
export interface AlertStats {
  readonly rules: number;
  readonly pending: number;
  readonly firing: number;
  readonly evaluations: number;
  readonly failures: number;
  readonly sent: number;
  readonly sinkFailures: number;
}

/**
 * Evaluates Prometheus rules in process and tells who has to know.
 *
 * Guarantees: an alert fires in the same evaluation step as in Prometheus on the same samples; a change is told at least
 * once to a sink that comes back within its attempts, and once only while nothing fails; with a shared state, by one of all
 * instances.
 */
export interface AlertManager extends IsolatedEmitter<AlertEvents>, Closeable, RuleSource {
  /** Alerts that are pending or firing. */
  active(): readonly Alert[];
  /** Evaluates every rule now, or as of an instant. */
  evaluate(now?: number): Promise<void>;
  /** Keeps alerts from being told. */
  silence(
    match: LabelMatch,
    duration: Duration,
    note?: { readonly author?: string; readonly comment?: string },
  ): Silence;
  unsilence(id: string): boolean;
  silences(): readonly Silence[];
  /** The rules as a Prometheus rule file, expressions as they are. */
  toPrometheusRules(): string;
  stats(): AlertStats;
  healthIndicator(): HealthIndicator;
  readonly closed: boolean;
}
