import { systemClock, toMilliseconds, type Clock, type Duration } from '@xiaoke/core';
import type { Alert } from '../rule-state.ts';
import { checkUrl, postJson, type HttpSinkOptions } from './http.ts';
import type { AlertNotification, AlertSink } from './sink.ts';

const NEVER = '0001-01-01T00:00:00Z';

/** Posts what Alertmanager's own webhooks post (version 4), so that its receivers understand it. */
export function webhookSink(url: string, options: HttpSinkOptions = {}): AlertSink {
  checkUrl(url);
  return {
    name: options.name ?? 'webhook',
    send: async (notification, { signal }) => {
      await postJson(url, webhookPayload(notification), { headers: options.headers, signal });
    },
  };
}

function webhookPayload({ groupKey, groupLabels, status, alerts }: AlertNotification): object {
  return {
    version: '4',
    groupKey,
    truncatedAlerts: 0,
    status,
    receiver: 'xiaoke',
    groupLabels,
    commonLabels: common(alerts.map(({ labels }) => labels)),
    commonAnnotations: common(alerts.map(({ annotations }) => annotations)),
    externalURL: '',
    alerts: alerts.map((alert) => ({
      status: alert.state === 'resolved' ? 'resolved' : 'firing',
      labels: alert.labels,
      annotations: alert.annotations,
      startsAt: new Date(alert.firedAt ?? alert.activeAt).toISOString(),
      endsAt: alert.resolvedAt === undefined ? NEVER : new Date(alert.resolvedAt).toISOString(),
      generatorURL: '',
      fingerprint: alert.fingerprint,
    })),
  };
}

function common(records: readonly Readonly<Record<string, string>>[]): Readonly<Record<string, string>> {
  const entries = Object.entries(records[0] ?? {});
  return Object.fromEntries(
    entries.filter(([key, value]) => records.every((record) => record[key] === value)),
  );
}

/** How Alertmanager is reached. */
export interface AlertmanagerSinkOptions extends HttpSinkOptions {
  /** How often an alert that goes on firing is sent again; Alertmanager forgets it after four times that. @default '1m' */
  readonly resendEvery?: Duration;
  readonly clock?: Clock;
}

/**
 * Hands alerts to Alertmanager (API v2), which groups, silences, repeats and deduplicates them itself: of many instances it
 * makes one notification.
 */
export function alertmanagerSink(url: string, options: AlertmanagerSinkOptions = {}): AlertSink {
  const base = checkUrl(url).replace(/\/+$/, '');
  const { clock = systemClock } = options;
  const keepAlive = toMilliseconds(options.resendEvery ?? '1m', 'resendEvery', { min: 1 });
  return {
    name: options.name ?? 'alertmanager',
    keepAlive,
    send: async ({ alerts }, { signal }) => {
      // Prometheus's own rule: dead after four silent intervals.
      const validUntil = clock.now() + 4 * keepAlive;
      const body = alerts.map((alert) => alertmanagerAlert(alert, validUntil));
      await postJson(`${base}/api/v2/alerts`, body, { headers: options.headers, signal });
    },
  };
}

function alertmanagerAlert(alert: Alert, validUntil: number): object {
  const { labels, annotations, firedAt, activeAt, resolvedAt } = alert;
  return {
    labels,
    annotations,
    startsAt: new Date(firedAt ?? activeAt).toISOString(),
    endsAt: new Date(resolvedAt ?? validUntil).toISOString(),
  };
}
