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

/** Hands alerts to Alertmanager (API v2), which groups, silences and deduplicates them itself. */
export function alertmanagerSink(url: string, options: HttpSinkOptions = {}): AlertSink {
  const base = checkUrl(url).replace(/\/+$/, '');
  return {
    name: options.name ?? 'alertmanager',
    send: async ({ alerts }, { signal }) => {
      await postJson(`${base}/api/v2/alerts`, alerts.map(alertmanagerAlert), {
        headers: options.headers,
        signal,
      });
    },
  };
}

function alertmanagerAlert(alert: Alert): object {
  const { labels, annotations, firedAt, activeAt, resolvedAt } = alert;
  const startsAt = new Date(firedAt ?? activeAt).toISOString();
  const ended = resolvedAt === undefined ? {} : { endsAt: new Date(resolvedAt).toISOString() };
  return { labels, annotations, startsAt, ...ended };
}
