import type { Alert } from '../rule-state.ts';

/** Alerts of one group that are told together. */
export interface AlertNotification {
  /** The labels they are grouped by. */
  readonly groupLabels: Readonly<Record<string, string>>;
  readonly groupKey: string;
  /** `firing` while any of them is. */
  readonly status: 'firing' | 'resolved';
  readonly alerts: readonly Alert[];
}

/** Where notifications go. One that rejects is tried again. */
export interface AlertSink {
  /** Tells it from others in metrics, logs and the saved state; a second of the same name gets a number. */
  readonly name: string;
  /**
   * For a receiver that groups, silences and repeats by itself and forgets an alert that it does not hear of: how often it
   * wants to hear, in milliseconds. It gets every change at once, ungrouped, from every instance.
   */
  readonly keepAlive?: number;
  send(notification: AlertNotification, context: { readonly signal: AbortSignal }): Promise<void>;
}

/** A sink, or just a function. */
export type AlertSinkOption =
  | AlertSink
  | ((notification: AlertNotification, context: { readonly signal: AbortSignal }) => unknown);

/** Lines for people: one an alert. */
export function describeAlerts({ alerts }: AlertNotification): readonly string[] {
  return alerts.map(({ name, state, labels, annotations }) => {
    const severity = labels['severity'] === undefined ? '' : ` (${labels['severity']})`;
    return `${state.toUpperCase()} ${name}${severity}: ${annotations['summary'] ?? name}`;
  });
}

/** A title for people. */
export function titleOf({ status, alerts }: AlertNotification): string {
  const names = [...new Set(alerts.map(({ name }) => name))].join(', ');
  return `[${status.toUpperCase()}: ${alerts.length}] ${names}`;
}
