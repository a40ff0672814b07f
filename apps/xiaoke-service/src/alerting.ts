import { hostname } from 'node:os';
import { join } from 'node:path';
import type { Logger } from '@xiaoke/core';
import type { MetricsCollector } from '@xiaoke/metrics';
import {
  alertmanagerSink,
  createAlertManager,
  defaultRules,
  dingTalkSink,
  feishuSink,
  fileState,
  logSink,
  redisState,
  webhookSink,
  weComSink,
  type AlertManager,
  type AlertSink,
  type AlertStateStorage,
} from '@xiaoke/metrics/alerts';
import type { TimeSeriesStore } from '@xiaoke/metrics/store';
import { NAMESPACE } from './manager-options.ts';
import type { Settings } from './settings.ts';

/** What alerts are made from. */
export interface AlertingParts {
  readonly settings: Settings;
  readonly store: TimeSeriesStore;
  readonly metrics: MetricsCollector;
  readonly logger: Logger;
}

/**
 * Evaluates the rules of the suite over the store, and tells the log and whoever is configured. With Redis, one of all
 * instances tells; with a directory, what was told is remembered over a restart.
 */
export function createAlerting({ settings, store, metrics, logger }: AlertingParts): AlertManager {
  const state = stateOf(settings);
  return createAlertManager({
    rules: defaultRules(),
    source: store,
    sinks: [logSink(logger), ...sinksOf(settings)],
    ...(state === undefined ? {} : { state }),
    metrics,
    logger,
  });
}

function stateOf({ alerts, metrics, service }: Settings): AlertStateStorage | undefined {
  if (alerts.redis_url !== undefined) {
    const instance = `${hostname()}:${service.port}`;
    return redisState(alerts.redis_url, { namespace: NAMESPACE, instance });
  }
  const { directory } = metrics.store;
  return directory === undefined ? undefined : fileState(join(directory, 'alerts.json'));
}

function sinksOf({ alerts }: Settings): AlertSink[] {
  const { webhook_url, alertmanager_url, dingtalk_url, feishu_url, wecom_url } = alerts;
  const made: AlertSink[] = [];
  if (webhook_url !== undefined) made.push(webhookSink(webhook_url));
  if (alertmanager_url !== undefined) made.push(alertmanagerSink(alertmanager_url));
  if (dingtalk_url !== undefined) made.push(dingTalkSink(dingtalk_url));
  if (feishu_url !== undefined) made.push(feishuSink(feishu_url));
  if (wecom_url !== undefined) made.push(weComSink(wecom_url));
  return made;
}
