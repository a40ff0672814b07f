import { execFile } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, expect, test } from 'vitest';
import { promtoolPath, sharedRedis } from '@xiaoke/test-servers';
import { FakeClock } from '@xiaoke/core/testing';
import { createMetricsCollector } from '@xiaoke/metrics';
import { createTimeSeriesStore } from '@xiaoke/metrics/store';
import {
  createAlertManager,
  defaultRules,
  fileState,
  parseRules,
  printRules,
  redisState,
  sloRules,
  type AlertManager,
  type AlertManagerOptions,
  type AlertNotification,
} from '@xiaoke/metrics/alerts';

const open: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const one of open.splice(0)) await one.close();
});

const deep = {
  alert: 'Deep',
  expr: 'depth > 10',
  labels: { severity: 'critical' },
  annotations: { summary: '{{ $labels.queue }} is {{ $value | humanize }} deep' },
};
const rules = [{ name: 'g', rules: [{ ...deep, for: '1m' }] }];

function setUp(options: Partial<AlertManagerOptions> = {}, shared = new FakeClock()) {
  const clock = shared;
  const store = createTimeSeriesStore({ clock });
  const told: AlertNotification[] = [];
  const alerts: AlertManager = createAlertManager({
    rules,
    source: store,
    clock,
    interval: '10s',
    sinks: [(notification) => told.push(notification)],
    ...options,
  });
  open.push(alerts, store);
  const run = async (value: number | undefined, seconds: number): Promise<void> => {
    for (let i = 0; i < seconds / 10; i++) {
      const sample = { labels: { __name__: 'depth', queue: 'q' }, value: value ?? 0, kind: 'gauge' as const };
      await store.append(clock.now(), value === undefined ? [] : [sample]);
      await clock.advance(10_000);
    }
  };
  return { clock, store, alerts, told, run };
}

test('an alert is pending for its time, told once, and its end is told once', async () => {
  const { alerts, told, run } = setUp();
  const events: string[] = [];
  alerts.on('firing', ({ name }) => events.push(`firing ${name}`));
  alerts.on('resolved', ({ name }) => events.push(`resolved ${name}`));
  await run(1_500, 50);
  expect(alerts.active().map(({ state }) => state)).toEqual(['pending']);
  await run(1_500, 300);
  expect(alerts.active().map(({ state }) => state)).toEqual(['firing']);
  expect(told).toHaveLength(1);
  expect(told[0]?.alerts[0]?.annotations['summary']).toBe('q is 1.5k deep');
  await run(1, 300);
  expect(alerts.active()).toEqual([]);
  expect(told.map(({ status }) => status)).toEqual(['firing', 'resolved']);
  expect(events).toEqual(['firing Deep', 'resolved Deep']);
});

test('a silence keeps an alert from being told, and it is told when the silence ends', async () => {
  const { alerts, told, run } = setUp();
  alerts.silence({ alertname: 'Deep' }, '5m', { author: 'me' });
  await run(20, 200);
  expect(told).toEqual([]);
  expect(alerts.stats().firing).toBe(1);
  await run(20, 200);
  expect(told).toHaveLength(1);
});

test('an alert that goes on firing is told again after the repeat interval', async () => {
  const { told, run } = setUp({ repeatInterval: '10m' });
  await run(20, 1_500);
  expect(told.length).toBe(3);
});

test('a sink that fails is tried again, and the end is told once', async () => {
  let failures = 2;
  const told: AlertNotification[] = [];
  const { run } = setUp({
    sinks: [
      (notification) => {
        if (failures-- > 0) throw new Error('down');
        told.push(notification);
      },
    ],
  });
  await run(20, 200);
  await run(1, 200);
  expect(told.map(({ status }) => status)).toEqual(['firing', 'resolved']);
});

test('a restart does not start the waiting time again', async () => {
  const path = join(mkdtempSync(join(tmpdir(), 'alerts-')), 'state.json');
  const clock = new FakeClock();
  const first = setUp({ state: fileState(path) }, clock);
  await first.run(20, 50);
  await first.alerts.close();
  const second = setUp({ state: fileState(path) }, clock);
  // Reads the file, which takes real time.
  await second.alerts.evaluate();
  await second.run(20, 30);
  expect(second.alerts.active().map(({ state }) => state)).toEqual(['firing']);
});

test('of three instances that see the same, one tells', async () => {
  const redis = await sharedRedis();
  const namespace = redis.prefix('alerts');
  const clock = new FakeClock();
  const all = [1, 2, 3].map((n) =>
    setUp({ state: redisState(redis.url, { namespace, instance: String(n) }) }, clock),
  );
  for (let i = 0; i < 30; i++) {
    for (const { store } of all) {
      await store.append(clock.now(), [
        { labels: { __name__: 'depth', queue: 'q' }, value: 20, kind: 'gauge' },
      ]);
    }
    for (const { alerts } of all) await alerts.evaluate();
    await clock.advance(10_000);
  }
  await expect.poll(() => all.flatMap(({ told }) => told).length).toBe(1);
});

test('promtool finds nothing wrong with the rules, and they come back as they were', async () => {
  const slo = sloRules([{ name: 'bookings', slo: { objective: 0.995 } }]);
  const groups = [...defaultRules(), { ...slo, name: 'own-slo' }];
  const path = join(mkdtempSync(join(tmpdir(), 'rules-')), 'rules.yml');
  const text = printRules(groups);
  writeFileSync(path, text);
  const { stdout } = await promisify(execFile)(promtoolPath(), ['check', 'rules', path]);
  expect(stdout).toContain('SUCCESS');
  expect(parseRules(text)).toEqual(groups);
  const { alerts } = setUp({ rules: groups });
  await alerts.evaluate();
  expect(alerts.stats().failures).toBe(0);
  expect(alerts.toPrometheusRules()).toBe(text);
});

test.each([
  [[{ name: '', rules: [] }], 'INVALID_OPTION'],
  [[{ name: 'g', rules: [{ alert: 'A', expr: 'sum(' }] }], 'PROMQL_SYNTAX'],
  [
    [{ name: 'g', rules: [{ alert: 'A', expr: 'up', annotations: { s: '{{ range .X }}' } }] }],
    'INVALID_OPTION',
  ],
])('%j is refused', (bad, code) => {
  expect(() => setUp({ rules: bad as never })).toThrow(expect.objectContaining({ code }));
});

test('a timer that is late once does not make the rules miss their next turn', async () => {
  const { alerts, store, clock } = setUp({ interval: '10s' });
  const depth = { labels: { __name__: 'depth', queue: 'q' }, value: 20, kind: 'gauge' as const };
  await store.append(clock.now(), [depth]);
  const evaluatedAt = (): unknown[] =>
    (alerts.rulesApi() as { groups: { rules: { alerts: { activeAt: string }[] }[] }[] }).groups.flatMap(
      ({ rules: all }) => all.flatMap(({ alerts: of }) => of.map(({ activeAt }) => activeAt)),
    );
  // Nine milliseconds late, and then on time.
  await clock.advance(10_000);
  await alerts.evaluate(clock.now() + 9);
  expect(evaluatedAt()).toHaveLength(1);
  const before = alerts.stats().evaluations;
  await store.append(clock.now(), [{ ...depth, value: 1 }]);
  await clock.advance(10_000);
  expect(alerts.stats().evaluations).toBe(before + 1);
  expect(evaluatedAt()).toEqual([]);
});

test('a silence by pattern covers what it fits, can be taken back, and ends', async () => {
  const { alerts, told, run } = setUp();
  const silence = alerts.silence({ queue: '/q|r/' }, '1h', { comment: 'known' });
  expect(alerts.silences()).toEqual([expect.objectContaining({ id: silence.id, comment: 'known' })]);
  await run(20, 120);
  expect(told).toEqual([]);
  expect(alerts.unsilence(silence.id)).toBe(true);
  expect(alerts.unsilence(silence.id)).toBe(false);
  await run(20, 120);
  expect(told).toHaveLength(1);
  expect(() => alerts.silence({}, '1h')).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }));
});

test('while the greater alert fires, the lesser is not told', async () => {
  const both = [
    { alert: 'Down', expr: 'depth > 100', labels: { severity: 'critical' } },
    { alert: 'Slow', expr: 'depth > 10', labels: { severity: 'warning' } },
  ];
  const { told, run } = setUp({
    rules: both,
    inhibit: [{ source: { alertname: 'Down' }, target: { alertname: 'Slow' }, equal: ['queue'] }],
  });
  await run(200, 120);
  expect(told.flatMap(({ alerts }) => alerts.map(({ name }) => name))).toEqual(['Down']);
  await run(20, 240);
  const names = told.flatMap(({ alerts }) => alerts.map(({ name, state }) => `${state} ${name}`));
  expect(names).toEqual(['firing Down', 'resolved Down', 'firing Slow']);
});

test('alerts with the same group labels are told together', async () => {
  const clock = new FakeClock();
  const { told, store } = setUp({ groupBy: ['severity'], rules: [deep] }, clock);
  for (let i = 0; i < 6; i++) {
    const queues = ['a', 'b', 'c'].map((queue) => ({
      labels: { __name__: 'depth', queue },
      value: 50,
      kind: 'gauge' as const,
    }));
    await store.append(clock.now(), queues);
    await clock.advance(10_000);
  }
  expect(told).toHaveLength(1);
  expect(told[0]).toMatchObject({ groupLabels: { severity: 'critical' }, status: 'firing' });
  expect(told[0]?.alerts).toHaveLength(3);
});

test('rules, alerts and health say what is going on', async () => {
  const metrics = createMetricsCollector();
  const { alerts, run } = setUp({ metrics, externalLabels: { cluster: 'c1' } });
  const health = async () =>
    (await alerts.healthIndicator().check({ signal: AbortSignal.timeout(1_000) })).code;
  expect(await health()).toBeUndefined();
  await run(20, 120);
  expect(await health()).toBe('CRITICAL_ALERT_FIRING');
  expect(alerts.alertsApi()).toMatchObject({
    alerts: [{ labels: { alertname: 'Deep', cluster: 'c1' }, state: 'firing', value: '20' }],
  });
  expect(alerts.rulesApi()).toMatchObject({
    groups: [
      { name: 'g', interval: 10, rules: [{ name: 'Deep', type: 'alerting', state: 'firing', duration: 60 }] },
    ],
  });
  expect(String((await metrics.metrics()).body)).toContain(
    'xiaoke_alerts{alert="Deep",severity="critical",state="firing"} 1',
  );
});

test('a rule that cannot be evaluated says so, and stops no other', async () => {
  const two = [
    { alert: 'Bad', expr: 'depth + on (queue) group_left (x) depth > 1' },
    { alert: 'Good', expr: 'depth > 1' },
  ];
  const failing: AlertManagerOptions['source'] = {
    query: (promql) =>
      promql.includes('group_left')
        ? Promise.reject(new Error('broken'))
        : Promise.resolve({ type: 'vector', series: [{ labels: { queue: 'q' }, points: [[0, 5]] }] }),
  };
  const { alerts } = setUp({ rules: two, source: failing });
  await alerts.evaluate();
  expect(alerts.active().map(({ name }) => name)).toEqual(['Good']);
  expect(alerts.stats()).toMatchObject({ failures: 1, rules: 2, firing: 1 });
  expect(JSON.stringify(alerts.rulesApi())).toContain('"health":"err","lastError":"broken"');
});

test.each([
  ['a list of rules', [{ alert: 'A', expr: 'up' }]],
  ['groups', [{ name: 'rules', rules: [{ alert: 'A', expr: 'up' }] }]],
  ['the content of a file', { groups: [{ name: 'rules', rules: [{ alert: 'A', expr: 'up' }] }] }],
  ['the text of a file', 'groups: [{ name: rules, rules: [{ alert: A, expr: up }] }]'],
])('rules may be %s', async (_, given) => {
  const { alerts } = setUp({ rules: given });
  expect(parseRules(alerts.toPrometheusRules())).toEqual([
    { name: 'rules', rules: [{ alert: 'A', expr: 'up' }] },
  ]);
});

test('an objective makes rules for errors and for latency, which fire when the budget burns', async () => {
  const clock = new FakeClock();
  const metrics = createMetricsCollector({ clock, constLabels: { service: 's' } });
  const slo = { objective: 0.99, latency: { threshold: 2, objective: 0.9 } };
  const bookings = metrics.operation('bookings', { slo });
  const store = createTimeSeriesStore({ clock });
  store.attach(metrics);
  const alerts = createAlertManager({ rules: [sloRules([bookings])], source: store, clock, interval: '30s' });
  open.push(alerts, store);
  const seconds = metrics.histogram({
    name: 'booking_duration_seconds',
    help: 'x',
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 2.5, 5, 10],
  });
  for (let i = 0; i < 80; i++) {
    for (let n = 0; n < 5; n++) {
      bookings.start().end(n === 0 ? 'error' : 'ok');
      // As slow as three seconds would have been.
      for (let slow = 0; slow < 20; slow++) seconds.observe(3);
    }
    await clock.advance(10_000);
  }
  const firing = alerts.active().map(({ name, state, labels }) => `${state} ${name} ${labels['window']}`);
  expect(firing).toContain('firing BookingsErrorBudgetBurn 1h');
  expect(firing.some((one) => one.includes('BookingsLatencyBudgetBurn 6h'))).toBe(true);
  const burn = await store.query('operation:slo_burn:rate5m{operation="bookings",budget="errors"}');
  // One of five fails, and one of a hundred may.
  expect(burn.type === 'vector' && burn.series[0]?.points[0]?.[1]).toBeCloseTo(20, 6);
  expect(String((await metrics.metrics()).body)).toContain(
    'xiaoke_slo_objective{service="s",operation="bookings",budget="latency"} 0.9',
  );
});
