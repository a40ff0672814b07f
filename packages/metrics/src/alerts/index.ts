/**
 * Evaluates Prometheus rules in process and tells who has to know.
 *
 * Terms: an alert is *pending* while its condition holds for less than `for`, then *firing*, then *resolved*; a *silence*
 * keeps it from being told; a *sink* is where it is told; alerts told together are a *group*.
 *
 * @module
 */
export { createAlertManager } from './default-alert-manager.ts';
export type {
  AlertEvents,
  AlertManager,
  AlertManagerOptions,
  AlertSource,
  AlertStats,
} from './alert-manager.ts';
export { defaultRules } from './default-rules.ts';
export { sloRules } from './slo-rules.ts';
export { prometheusSource, type PrometheusSourceOptions } from './prometheus-source.ts';
export { parseRules, printRules } from './rule-yaml.ts';
export type { RuleInput } from './rule-input.ts';
export type { AlertingRule, RecordingRule, Rule, RuleGroup } from './rules.ts';
export type { Alert, AlertState } from './rule-state.ts';
export type { InhibitRule, LabelMatch, Silence } from './silences.ts';
export {
  fileState,
  memoryState,
  type AlertStateStorage,
  type Claim,
  type SavedState,
} from './alert-state.ts';
export { redisState, type RedisStateOptions } from './redis/redis-state.ts';
export type { AlertNotification, AlertSink, AlertSinkOption } from './sinks/sink.ts';
export { alertmanagerSink, webhookSink, type AlertmanagerSinkOptions } from './sinks/webhook.ts';
export { dingTalkSink, feishuSink, weComSink, type ChatSinkOptions } from './sinks/chat.ts';
export { logSink } from './sinks/log.ts';
export type { HttpSinkOptions } from './sinks/http.ts';
