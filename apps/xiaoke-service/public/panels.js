// The charts: what is asked, how a value is written.

/** @typedef {{ title: string, query: string, label?: string, format: (value: number) => string }} Panel */

/** @param {number} value */
const plain = (value) =>
  value >= 100 || Number.isInteger(value) ? Math.round(value).toString() : value.toFixed(1);
/** @param {number} seconds */
const time = (seconds) => {
  if (seconds < 1) return `${plain(seconds * 1_000)} ms`;
  return seconds < 120 ? `${plain(seconds)} s` : `${plain(seconds / 60)} min`;
};
/** @param {number} ratio */
const percent = (ratio) => `${plain(ratio * 100)} %`;
/** @param {number} bytes */
const megabytes = (bytes) => `${plain(bytes / 1_048_576)} MB`;

/** @param {string} histogram @param {string} [selector] */
const p95 = (histogram, selector = '') =>
  `histogram_quantile(0.95, sum by (le) (rate(${histogram}_bucket${selector}[2m])))`;

/** @type {readonly Panel[]} */
export const PANELS = [
  {
    title: 'Requests ended a minute',
    query: 'sum by (outcome) (rate(medical_requests_ended_total[2m])) * 60',
    label: 'outcome',
    format: plain,
  },
  {
    title: 'Tasks waiting',
    query: 'sum by (queue) (xiaoke_queue_tasks{state=~"waiting|delayed"})',
    label: 'queue',
    format: plain,
  },
  { title: 'Answer over HTTP, p95', query: p95('http_request_duration_seconds'), format: time },
  { title: 'Wait in the queue, p95', query: p95('xiaoke_queue_task_wait_seconds'), format: time },
  { title: 'Work on a request, p95', query: p95('medical_request_duration_seconds'), format: time },
  { title: 'Finding a slot, p95', query: p95('resource_scheduling_seconds'), format: time },
  { title: 'Database query, p95', query: p95('database_query_duration_seconds'), format: time },
  {
    title: 'Cache hits',
    query:
      'sum(rate(xiaoke_cache_requests_total{result=~"hit|stale"}[2m])) / sum(rate(xiaoke_cache_requests_total[2m]))',
    format: percent,
  },
  { title: 'Wait for a lock, p95', query: p95('xiaoke_lock_acquire_seconds'), format: time },
  {
    title: 'Retries a minute',
    query: 'sum(rate(xiaoke_retry_attempts_total{attempt="retry"}[2m])) * 60',
    format: plain,
  },
  {
    title: 'Users seen within 30 minutes',
    query: 'sum by (role) (user_sessions_active)',
    label: 'role',
    format: plain,
  },
  {
    title: 'Free slots',
    query: 'sum by (resource) (resource_slots{state="free"})',
    label: 'resource',
    format: plain,
  },
  { title: 'Event loop delay, p95', query: p95('nodejs_eventloop_delay_seconds'), format: time },
  { title: 'Resident memory', query: 'sum(process_resident_memory_bytes)', format: megabytes },
];
