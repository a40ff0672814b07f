import type { Aggregation } from '../instruments/family.ts';

/**
 * Gauges of the suite that do not add up over processes: what they show is one thing that every process sees (a backlog in
 * Redis), or a state.
 */
export const SUITE_GAUGES: Readonly<Record<string, Aggregation>> = {
  process_start_time_seconds: 'min',
  process_max_fds: 'max',
  xiaoke_alerts: 'max',
  xiaoke_circuit_breaker_state: 'max',
  xiaoke_config_last_reload_success_timestamp_seconds: 'min',
  xiaoke_config_last_reload_successful: 'min',
  xiaoke_config_version: 'max',
  xiaoke_discovery_instances: 'max',
  xiaoke_health_last_check_timestamp_seconds: 'max',
  xiaoke_health_service_status: 'max',
  xiaoke_health_status: 'max',
  xiaoke_queue_oldest_task_age_seconds: 'max',
  xiaoke_queue_paused: 'max',
  xiaoke_queue_tasks: 'max',
  xiaoke_queue_workers: 'max',
};
