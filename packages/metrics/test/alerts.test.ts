import { execFile } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, expect, test } from 'vitest';
import { promtoolPath, sharedRedis } from '@xiaoke/test-servers';
import { FakeClock } from '@xiaoke/core/testing';
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

const rules = [
  {
    name: 'g',
    rules: [
      {
        alert: 'Deep',
        expr: 'depth > 10',
        for: '1m',
        labels: { severity: 'critical' },
        annotations: { summary: '{{ $labels.queue }} is {{ $value | humanize }} deep' },
      },
    ],
  },
];

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
