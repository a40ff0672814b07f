import type { RuleGroup } from './rules.ts';

const recordingRules: RuleGroup = {
  name: 'xiaoke-recording',
  interval: '30s',
  rules: [
    {
      record: 'queue:xiaoke_queue_tasks:backlog',
      expr: 'sum by (service, queue) (max by (service, queue, priority, state) (xiaoke_queue_tasks{state="waiting"}))',
    },
    {
      record: 'cache:xiaoke_cache_requests:hit_ratio_rate10m',
      expr: `sum by (service, cache) (rate(xiaoke_cache_requests_total{result=~"hit|stale"}[10m]))
  / sum by (service, cache) (rate(xiaoke_cache_requests_total[10m]))`,
    },
    {
      record: 'service:medical_requests:error_ratio_rate5m',
      expr: `sum by (service) (rate(medical_requests_processed_total{outcome="error"}[5m]))
  / sum by (service) (rate(medical_requests_processed_total{outcome!="rejected"}[5m]))`,
    },
    {
      record: 'service:medical_requests:error_ratio_rate30m',
      expr: `sum by (service) (rate(medical_requests_processed_total{outcome="error"}[30m]))
  / sum by (service) (rate(medical_requests_processed_total{outcome!="rejected"}[30m]))`,
    },
    {
      record: 'service:medical_requests:error_ratio_rate1h',
      expr: `sum by (service) (rate(medical_requests_processed_total{outcome="error"}[1h]))
  / sum by (service) (rate(medical_requests_processed_total{outcome!="rejected"}[1h]))`,
    },
    {
      record: 'service:medical_requests:error_ratio_rate6h',
      expr: `sum by (service) (rate(medical_requests_processed_total{outcome="error"}[6h]))
  / sum by (service) (rate(medical_requests_processed_total{outcome!="rejected"}[6h]))`,
    },
  ],
};

const healthRules: RuleGroup = {
  name: 'xiaoke-health',
  rules: [
    {
      alert: 'XiaokeHealthCheckFailing',
      expr: 'max by (service, check) (xiaoke_health_status{status="unhealthy", critical="true"}) == 1',
      for: '2m',
      labels: { severity: 'critical', component: 'health' },
      annotations: {
        summary: 'Critical dependency {{ $labels.check }} of {{ $labels.service }} is unhealthy',
        description: 'Check has reported unhealthy for at least 2 minutes.',
      },
    },
    {
      alert: 'XiaokeHealthCheckDegraded',
      expr: 'max by (service, check) (xiaoke_health_status{status=~"unhealthy|degraded"}) == 1',
      for: '10m',
      labels: { severity: 'warning', component: 'health' },
      annotations: { summary: '{{ $labels.check }} of {{ $labels.service }} is not healthy' },
    },
    {
      alert: 'XiaokeHealthCheckFlapping',
      expr: 'sum by (service, check) (increase(xiaoke_health_status_changes_total[15m])) > 6',
      for: '5m',
      labels: { severity: 'warning', component: 'health' },
      annotations: {
        summary:
          '{{ $labels.check }} of {{ $labels.service }} changed state {{ $value | humanize }} times in 15m',
      },
    },
    {
      alert: 'XiaokeHealthCheckStale',
      expr: 'time() - max by (service, check) (xiaoke_health_last_check_timestamp_seconds) > 120',
      for: '1m',
      labels: { severity: 'warning', component: 'health' },
      annotations: {
        summary:
          '{{ $labels.check }} of {{ $labels.service }} has not run for {{ $value | humanizeDuration }}',
      },
    },
    {
      alert: 'XiaokeTargetMissing',
      expr: 'up{job="xiaoke"} == 0',
      for: '2m',
      labels: { severity: 'critical', component: 'metrics' },
      annotations: { summary: '{{ $labels.instance }} cannot be scraped' },
    },
  ],
};

const queueRules: RuleGroup = {
  name: 'xiaoke-queue',
  rules: [
    {
      alert: 'XiaokeQueueBacklogOld',
      expr: 'max by (service, queue) (xiaoke_queue_oldest_task_age_seconds{state="waiting"}) > 300',
      for: '5m',
      labels: { severity: 'critical', component: 'queue' },
      annotations: {
        summary: 'Oldest task in {{ $labels.queue }} has waited {{ $value | humanizeDuration }}',
      },
    },
    {
      alert: 'XiaokeQueueBacklogGrowing',
      expr: `queue:xiaoke_queue_tasks:backlog > 1000
and on (service, queue) deriv(queue:xiaoke_queue_tasks:backlog[15m]) > 0
and on (service, queue) (
  queue:xiaoke_queue_tasks:backlog
    / clamp_min(sum by (service, queue) (rate(xiaoke_queue_tasks_finished_total[10m])), 0.001)
) > 600`,
      for: '10m',
      labels: { severity: 'warning', component: 'queue' },
      annotations: {
        summary: '{{ $labels.queue }} needs more than 10 minutes to drain and is still growing',
      },
    },
    {
      alert: 'XiaokeQueueNoConsumers',
      expr: `queue:xiaoke_queue_tasks:backlog > 0
unless on (service, queue) (sum by (service, queue) (xiaoke_queue_workers) > 0)`,
      for: '5m',
      labels: { severity: 'critical', component: 'queue' },
      annotations: { summary: '{{ $labels.queue }} has waiting tasks and no live worker' },
    },
    {
      alert: 'XiaokeQueueDeadLetters',
      expr: 'sum by (service, queue, task) (increase(xiaoke_queue_dead_letters_total[15m])) > 0',
      labels: { severity: 'warning', component: 'queue' },
      annotations: {
        summary:
          '{{ $value | humanize }} {{ $labels.task }} tasks dead-lettered in {{ $labels.queue }} in 15m',
      },
    },
    {
      alert: 'XiaokeQueueTooManyRetries',
      expr: `sum by (service, queue, task) (rate(xiaoke_queue_task_retries_total[10m]))
  / sum by (service, queue, task) (rate(xiaoke_queue_task_attempts_total[10m])) > 0.2
and on (service, queue, task) sum by (service, queue, task) (increase(xiaoke_queue_task_attempts_total[10m])) > 50`,
      for: '10m',
      labels: { severity: 'warning', component: 'queue' },
      annotations: {
        summary: '{{ $value | humanizePercentage }} of {{ $labels.task }} attempts are retries',
      },
    },
  ],
};

const cacheRules: RuleGroup = {
  name: 'xiaoke-cache',
  rules: [
    {
      alert: 'XiaokeCacheHitRatioLow',
      expr: `cache:xiaoke_cache_requests:hit_ratio_rate10m < 0.7
and on (service, cache) sum by (service, cache) (rate(xiaoke_cache_requests_total[10m])) > 1
and on (service) (time() - max by (service) (process_start_time_seconds)) > 900`,
      for: '15m',
      labels: { severity: 'warning', component: 'cache' },
      annotations: { summary: 'Hit ratio of {{ $labels.cache }} is {{ $value | humanizePercentage }}' },
    },
  ],
};

const lockRules: RuleGroup = {
  name: 'xiaoke-lock',
  rules: [
    {
      alert: 'XiaokeLockWaitLong',
      expr: `histogram_quantile(0.99, sum by (service, lock, mode, le) (rate(xiaoke_lock_acquire_seconds_bucket[10m]))) > 1
and on (service, lock, mode) sum by (service, lock, mode) (increase(xiaoke_lock_acquire_seconds_count[10m])) > 20`,
      for: '10m',
      labels: { severity: 'warning', component: 'lock' },
      annotations: {
        summary: 'p99 wait for {{ $labels.mode }} lock {{ $labels.lock }} is {{ $value | humanizeDuration }}',
      },
    },
    {
      alert: 'XiaokeLockTimeouts',
      expr: `sum by (service, lock) (rate(xiaoke_lock_acquire_seconds_count{outcome="timeout"}[10m]))
  / sum by (service, lock) (rate(xiaoke_lock_acquire_seconds_count[10m])) > 0.05
and on (service, lock) sum by (service, lock) (increase(xiaoke_lock_acquire_seconds_count[10m])) > 20`,
      for: '5m',
      labels: { severity: 'warning', component: 'lock' },
      annotations: {
        summary: '{{ $value | humanizePercentage }} of acquisitions of {{ $labels.lock }} time out',
      },
    },
    {
      alert: 'XiaokeLockLost',
      expr: 'sum by (service, lock, reason) (increase(xiaoke_lock_lost_total[10m])) > 0',
      labels: { severity: 'critical', component: 'lock' },
      annotations: { summary: 'Lock {{ $labels.lock }} was lost while held ({{ $labels.reason }})' },
    },
    {
      alert: 'XiaokeLockDeadlock',
      expr: 'sum by (service) (increase(xiaoke_lock_deadlocks_total[15m])) > 0',
      labels: { severity: 'critical', component: 'lock' },
      annotations: { summary: 'Deadlock broken in {{ $labels.service }}' },
    },
  ],
};

const resilienceRules: RuleGroup = {
  name: 'xiaoke-resilience',
  rules: [
    {
      alert: 'XiaokeRetriesTooMany',
      expr: `sum by (service, policy) (rate(xiaoke_retry_attempts_total{attempt="retry"}[10m]))
  / sum by (service, policy) (rate(xiaoke_retry_attempts_total{attempt="first"}[10m])) > 0.1
and on (service, policy) sum by (service, policy) (increase(xiaoke_retry_attempts_total[10m])) > 50`,
      for: '10m',
      labels: { severity: 'warning', component: 'resilience' },
      annotations: {
        summary: '{{ $labels.policy }} adds {{ $value | humanizePercentage }} extra calls by retrying',
      },
    },
    {
      alert: 'XiaokeRetriesExhausted',
      expr: 'sum by (service, policy) (increase(xiaoke_retry_calls_total{outcome="exhausted"}[10m])) > 5',
      for: '5m',
      labels: { severity: 'warning', component: 'resilience' },
      annotations: {
        summary: '{{ $value | humanize }} calls under {{ $labels.policy }} ran out of retries in 10m',
      },
    },
    {
      alert: 'XiaokeBreakerOpen',
      expr: 'max by (service, breaker) (xiaoke_circuit_breaker_state{state="open"}) == 1',
      for: '2m',
      labels: { severity: 'critical', component: 'resilience' },
      annotations: { summary: 'Circuit breaker {{ $labels.breaker }} of {{ $labels.service }} is open' },
    },
  ],
};

const configRules: RuleGroup = {
  name: 'xiaoke-config',
  rules: [
    {
      alert: 'XiaokeConfigReloadFailing',
      expr: 'min by (service, source) (xiaoke_config_last_reload_successful) == 0',
      for: '5m',
      labels: { severity: 'warning', component: 'config' },
      annotations: {
        summary: '{{ $labels.service }} keeps an old config: source {{ $labels.source }} fails to load',
      },
    },
    {
      alert: 'XiaokeConfigSkew',
      expr: 'count by (service) (count by (service, hash) (xiaoke_config_info)) > 1',
      for: '15m',
      labels: { severity: 'warning', component: 'config' },
      annotations: {
        summary: 'Instances of {{ $labels.service }} run {{ $value }} different config versions',
      },
    },
  ],
};

const sloRules: RuleGroup = {
  name: 'xiaoke-slo',
  rules: [
    {
      alert: 'MedicalRequestsErrorBudgetBurn',
      expr: `service:medical_requests:error_ratio_rate1h > (14.4 * 0.005)
and service:medical_requests:error_ratio_rate5m > (14.4 * 0.005)`,
      for: '2m',
      labels: { severity: 'critical', component: 'business', window: '1h' },
      annotations: { summary: '{{ $labels.service }} burns its monthly error budget 14.4 times too fast' },
    },
    {
      alert: 'MedicalRequestsErrorBudgetBurn',
      expr: `service:medical_requests:error_ratio_rate6h > (6 * 0.005)
and service:medical_requests:error_ratio_rate30m > (6 * 0.005)`,
      for: '15m',
      labels: { severity: 'warning', component: 'business', window: '6h' },
      annotations: { summary: '{{ $labels.service }} burns its monthly error budget 6 times too fast' },
    },
    {
      alert: 'ResourceSchedulingSlow',
      expr: `histogram_quantile(0.95, sum by (service, resource, le) (rate(resource_scheduling_seconds_bucket[10m]))) > 2
and on (service, resource) sum by (service, resource) (increase(resource_scheduling_seconds_count[10m])) > 20`,
      for: '10m',
      labels: { severity: 'warning', component: 'business' },
      annotations: {
        summary: 'p95 scheduling latency for {{ $labels.resource }} is {{ $value | humanizeDuration }}',
      },
    },
    {
      alert: 'MedicalRequestsAbsent',
      expr: 'absent_over_time(medical_requests_processed_total[10m])',
      for: '10m',
      labels: { severity: 'warning', component: 'business' },
      annotations: { summary: 'No medical request counter is being scraped' },
    },
  ],
};

const runtimeRules: RuleGroup = {
  name: 'xiaoke-runtime',
  rules: [
    {
      alert: 'XiaokeEventLoopBlocked',
      expr: 'histogram_quantile(0.99, sum by (service, instance, le) (rate(nodejs_eventloop_delay_seconds_bucket[5m]))) > 0.2',
      for: '5m',
      labels: { severity: 'warning', component: 'runtime' },
      annotations: {
        summary: 'Event loop p99 delay on {{ $labels.instance }} is {{ $value | humanizeDuration }}',
      },
    },
    {
      alert: 'XiaokeSeriesDropped',
      expr: 'sum by (service, metric) (increase(xiaoke_metrics_series_dropped_total[15m])) > 0',
      labels: { severity: 'warning', component: 'metrics' },
      annotations: { summary: 'Metric {{ $labels.metric }} hit its series limit' },
    },
    {
      alert: 'XiaokeWatchdog',
      expr: 'vector(1)',
      labels: { severity: 'none', component: 'metrics' },
      annotations: { summary: 'Always firing: proves the alert path works' },
    },
  ],
};

/**
 * Rules for every package of the suite, under the names that they report: a failing health check, an old backlog, a low hit
 * ratio, long waits for locks, too many retries, and what else should wake somebody. Every ratio asks for a minimum of
 * volume, every burn rate for two windows, and `XiaokeWatchdog` always fires, to prove that the path works.
 */
export function defaultRules(): readonly RuleGroup[] {
  return [
    recordingRules,
    healthRules,
    queueRules,
    cacheRules,
    lockRules,
    resilienceRules,
    configRules,
    sloRules,
    runtimeRules,
  ];
}
