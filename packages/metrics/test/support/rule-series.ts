/** Three hours of the suite's series, made so that every default rule holds at some time and not at others. */

/** One series: its name with labels, and its value at each step; `undefined` where it has none. */
export interface RuleSeries {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly kind: 'counter' | 'gauge';
  readonly values: readonly (number | undefined)[];
}

export const STEP = 30_000;
export const STEPS = 390;

type At = (step: number) => number | undefined;

/** Makes the series with a generator of random numbers, so that a run can be repeated. */
export function ruleSeries(random: () => number): readonly RuleSeries[] {
  return ['s1', 's"2\\'].flatMap((service) => seriesOf(service, random));
}

function seriesOf(service: string, random: () => number): readonly RuleSeries[] {
  const made: RuleSeries[] = [];
  const add = (kind: RuleSeries['kind'], name: string, labels: Record<string, string>, at: At): void => {
    const values = Array.from({ length: STEPS }, (_, step) => at(step));
    made.push({ name, kind, labels: { service, ...labels }, values });
  };
  const gauge = (name: string, labels: Record<string, string>, at: At): void =>
    add('gauge', name, labels, at);
  // Adds up what `at` gives at each step, from 0.
  const counter = (name: string, labels: Record<string, string>, at: (step: number) => number): void => {
    let total = 0;
    add('counter', name, labels, (step) => (step === 0 ? 0 : (total += at(step))));
  };
  // Times of trouble: begins and ends at random.
  const trouble = (from: number, least: number): ((step: number) => boolean) => {
    const start = from + Math.floor(random() * 20);
    const end = start + least + Math.floor(random() * 20);
    return (step) => step >= start && step < end;
  };
  health(gauge, counter, trouble);
  queue(gauge, counter, trouble, random);
  cacheAndLocks(gauge, counter, trouble, random);
  resilienceAndConfig(gauge, counter, trouble);
  business(add, counter, trouble, random);
  return made;
}

type Add = (name: string, labels: Record<string, string>, at: At) => void;
type Count = (name: string, labels: Record<string, string>, at: (step: number) => number) => void;
type Trouble = (from: number, least: number) => (step: number) => boolean;

function health(gauge: Add, counter: Count, trouble: Trouble): void {
  const down = trouble(10, 8);
  const degraded = trouble(60, 25);
  const flapping = trouble(120, 40);
  const stale = trouble(200, 12);
  const of = { check: 'postgres', critical: 'true' };
  gauge('xiaoke_health_status', { ...of, status: 'unhealthy' }, (step) => Number(down(step)));
  gauge('xiaoke_health_status', { ...of, status: 'degraded' }, (step) => Number(degraded(step)));
  // A short failure, too short to be told.
  gauge('xiaoke_health_status', { check: 'mail', critical: 'true', status: 'unhealthy' }, (step) =>
    Number(step === 30 || step === 33),
  );
  counter('xiaoke_health_status_changes_total', { check: 'postgres', to: 'x' }, (step) =>
    Number(flapping(step) && step % 3 === 0),
  );
  let last = 0;
  gauge('xiaoke_health_last_check_timestamp_seconds', { check: 'postgres' }, (step) =>
    stale(step) ? last : (last = (step * STEP) / 1_000),
  );
  const missing = trouble(250, 6);
  gauge('up', { job: 'xiaoke', instance: 'i1' }, (step) => Number(!missing(step)));
}

function queue(gauge: Add, counter: Count, trouble: Trouble, random: () => number): void {
  const old = trouble(20, 20);
  const growing = trouble(60, 60);
  const idle = trouble(150, 20);
  const name = { queue: 'tri"age' };
  gauge('xiaoke_queue_oldest_task_age_seconds', { ...name, state: 'waiting' }, (step) =>
    old(step) ? 300 + random() * 60 : random() * 100,
  );
  let depth = 5;
  gauge('xiaoke_queue_tasks', { ...name, state: 'waiting', priority: 'high' }, (step) => {
    depth = growing(step) ? depth + 100 : Math.max(5, depth - 200);
    return depth;
  });
  gauge('xiaoke_queue_workers', name, (step) => (idle(step) ? undefined : 2));
  const task = { ...name, task: 'scan' };
  counter('xiaoke_queue_tasks_finished_total', { ...task, outcome: 'completed' }, () => 1 + random() * 3);
  const dead = trouble(100, 1);
  counter('xiaoke_queue_dead_letters_total', { ...task, reason: 'x' }, (step) => (dead(step) ? 2 : 0));
  const failing = trouble(220, 50);
  counter('xiaoke_queue_task_attempts_total', task, () => 10);
  counter('xiaoke_queue_task_retries_total', { ...task, reason: 'x' }, (step) => (failing(step) ? 4 : 0));
}

function cacheAndLocks(gauge: Add, counter: Count, trouble: Trouble, random: () => number): void {
  const cold = trouble(60, 80);
  const cache = { cache: 'patients', tier: 'l1' };
  gauge('process_start_time_seconds', {}, () => 0);
  counter('xiaoke_cache_requests_total', { ...cache, result: 'hit' }, (step) => (cold(step) ? 60 : 100));
  counter('xiaoke_cache_requests_total', { ...cache, result: 'miss' }, () => 40 + random() * 5);
  const slow = trouble(100, 50);
  const lock = { lock: 'slot', mode: 'exclusive' };
  for (const outcome of ['acquired', 'timeout']) {
    const share = outcome === 'acquired' ? 9 : 1;
    const all = { ...lock, outcome };
    const seconds = (step: number): number => (slow(step) ? share : 0);
    for (const le of ['1', '5', '+Inf']) {
      const waited = (step: number): number => share - (le === '1' ? seconds(step) : 0);
      counter('xiaoke_lock_acquire_seconds_bucket', { ...all, le }, waited);
    }
    counter('xiaoke_lock_acquire_seconds_count', all, () => share);
  }
  counter('xiaoke_lock_lost_total', { lock: 'slot', reason: 'expired' }, (step) => Number(step === 77));
  counter('xiaoke_lock_deadlocks_total', { lock: 'slot' }, (step) => Number(step % 150 === 149));
}

function resilienceAndConfig(gauge: Add, counter: Count, trouble: Trouble): void {
  const storm = trouble(40, 50);
  const policy = { policy: 'pg' };
  counter('xiaoke_retry_attempts_total', { ...policy, attempt: 'first' }, () => 10);
  counter('xiaoke_retry_attempts_total', { ...policy, attempt: 'retry' }, (step) => (storm(step) ? 5 : 0));
  counter('xiaoke_retry_calls_total', { ...policy, outcome: 'exhausted' }, (step) => Number(storm(step)));
  const open = trouble(180, 10);
  gauge('xiaoke_circuit_breaker_state', { breaker: 'b', state: 'open' }, (step) => Number(open(step)));
  const failing = trouble(200, 15);
  gauge('xiaoke_config_last_reload_successful', { source: 'f' }, (step) => Number(!failing(step)));
  const skew = trouble(240, 40);
  gauge('xiaoke_config_info', { version: '1', hash: 'a' }, () => 1);
  gauge('xiaoke_config_info', { version: '2', hash: 'b' }, (step) => (skew(step) ? 1 : undefined));
}

function business(
  add: (kind: RuleSeries['kind'], name: string, labels: Record<string, string>, at: At) => void,
  counter: Count,
  trouble: Trouble,
  random: () => number,
): void {
  const burning = trouble(60, 120);
  // Ends, to be missed.
  const until = 300;
  for (const outcome of ['ok', 'error', 'rejected']) {
    let total = 0;
    add('counter', 'medical_requests_processed_total', { type: 'triage', outcome }, (step) => {
      const errors = burning(step) ? 12 : random() < 0.05 ? 1 : 0;
      total += outcome === 'ok' ? 90 : outcome === 'error' ? errors : 1;
      return step >= until ? undefined : total;
    });
  }
  const slow = trouble(200, 50);
  for (const le of ['1', '2', '4', '+Inf']) {
    counter('resource_scheduling_seconds_bucket', { resource: 'bed', outcome: 'ok', le }, (step) =>
      slow(step) && Number(le) <= 2 ? 1 : 10,
    );
  }
  counter('resource_scheduling_seconds_count', { resource: 'bed', outcome: 'ok' }, () => 10);
  const blocked = trouble(260, 30);
  for (const le of ['0.1', '0.25', '1', '+Inf']) {
    counter('nodejs_eventloop_delay_seconds_bucket', { instance: 'i1', le }, (step) =>
      blocked(step) && Number(le) < 1 ? 5 : 50,
    );
  }
  const dropped = trouble(290, 4);
  counter('xiaoke_metrics_series_dropped_total', { metric: 'm' }, (step) => (dropped(step) ? 100 : 0));
}
