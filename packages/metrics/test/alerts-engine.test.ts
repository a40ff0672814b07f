/** Our alert engine against Prometheus's own, which promtool runs over the same series. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { FakeClock } from '@xiaoke/core/testing';
import { promtoolPath } from '@xiaoke/test-servers';
import { createTimeSeriesStore, type TimeSeriesStore } from '@xiaoke/metrics/store';
import {
  createAlertManager,
  defaultRules,
  fileState,
  printRules,
  type Alert,
  type AlertManager,
  type AlertStateStorage,
  type RuleGroup,
} from '@xiaoke/metrics/alerts';
import { ruleSeries, STEP, STEPS, type RuleSeries } from './support/rule-series.ts';

function generator(start: number): () => number {
  let seed = start;
  return () => {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
    return seed / 2 ** 32;
  };
}

const defaults = defaultRules();
const namesOf = (rules: readonly RuleGroup[]): readonly string[] => [
  ...new Set(rules.flatMap((group) => group.rules.flatMap((rule) => ('alert' in rule ? rule.alert : [])))),
];

async function appendStep(
  store: TimeSeriesStore,
  series: readonly RuleSeries[],
  step: number,
): Promise<void> {
  const present = series.flatMap(({ name, labels, kind, values }) => {
    const value = values[step];
    return value === undefined ? [] : [{ labels: { ...labels, __name__: name }, kind, value }];
  });
  await store.append(step * STEP, present);
}

/** The alerts at each step, as our engine sees them; it is started anew at each step of `restarts`. */
async function ours(
  series: readonly RuleSeries[],
  { rules = defaults, restarts = [] as readonly number[], steps = STEPS } = {},
): Promise<readonly (readonly Alert[])[]> {
  const clock = new FakeClock(0);
  const store = createTimeSeriesStore({ clock, tiers: [{ step: STEP, keep: '12h' }] });
  const path = join(mkdtempSync(join(tmpdir(), 'alerts-')), 'state.json');
  const make = (): AlertManager => {
    const state: AlertStateStorage = fileState(path);
    // Evaluated by hand; its own timer is beyond the end.
    const options = { rules, source: store, clock, interval: STEP, state };
    return createAlertManager(options);
  };
  let alerts = make();
  const history: (readonly Alert[])[] = [];
  for (let step = 0; step < steps; step++) {
    if (restarts.includes(step)) {
      await alerts.close();
      alerts = make();
    }
    await appendStep(store, series, step);
    await alerts.evaluate(step * STEP);
    history.push(alerts.active());
  }
  expect(alerts.stats().failures).toBe(0);
  await alerts.close();
  await store.close();
  return history;
}

const quote = (text: string): string => JSON.stringify(text);
const labelsText = (labels: Readonly<Record<string, string>>): string =>
  Object.entries(labels)
    .map(([name, value]) => `${name}=${quote(value)}`)
    .join(',');

const number = (value: number): string => String(value).replace('Infinity', 'Inf');
const gap = (values: readonly unknown[], i: number): string =>
  i > 0 && values[i - 1] !== undefined ? 'stale' : '_';

function seriesText({ name, labels, values }: RuleSeries): string {
  // Where ours ends, Prometheus has to be told so.
  const list = values.map((value, i) => (value === undefined ? gap(values, i) : number(value)));
  return `      - { series: ${quote(`${name}{${labelsText(labels)}}`)}, values: ${quote(list.join(' '))} }\n`;
}

const mapText = (of: Readonly<Record<string, string>>): string =>
  `{ ${Object.entries(of)
    .map(([key, value]) => `${key}: ${quote(value)}`)
    .join(', ')} }`;

/** A file for `promtool test rules` that says: exactly these alerts, at every step. */
function testFile(
  rules: readonly RuleGroup[],
  series: readonly RuleSeries[],
  history: readonly (readonly Alert[])[],
): string {
  // In a real Prometheus groups run side by side, so that a recording is seen one step later; promtool can order them.
  const order = rules.map(({ name }) => name).join(', ');
  let text = `rule_files: [rules.yml]\nevaluation_interval: 30s\ngroup_eval_order: [${order}]\n`;
  text += 'tests:\n  - interval: 30s\n    input_series:\n';
  text += series.map(seriesText).join('');
  text += '    alert_rule_test:\n';
  for (const [step, alerts] of history.entries()) {
    for (const name of namesOf(rules)) {
      const firing = alerts.filter((alert) => alert.name === name && alert.state === 'firing');
      const expected = firing.map(({ labels, annotations }) => {
        const { alertname: _name, ...own } = labels;
        return `{ exp_labels: ${mapText(own)}, exp_annotations: ${mapText(annotations)} }`;
      });
      text += `      - { eval_time: ${step * 30}s, alertname: ${name}, exp_alerts: [${expected.join(', ')}] }\n`;
    }
  }
  text += '    promql_expr_test:\n';
  for (const [step, alerts] of history.entries()) {
    const pending = alerts.filter(({ state }) => state === 'pending');
    const samples = pending.map(
      ({ labels }) =>
        `{ labels: ${quote(`ALERTS{${labelsText({ ...labels, alertstate: 'pending' })}}`)}, value: 1 }`,
    );
    text += `      - { eval_time: ${step * 30}s, expr: 'ALERTS{alertstate="pending"}', exp_samples: [${samples.join(', ')}] }\n`;
  }
  return text;
}

function judge(
  series: readonly RuleSeries[],
  history: readonly (readonly Alert[])[],
  rules = defaults,
): string {
  const directory = mkdtempSync(join(tmpdir(), 'promtool-'));
  writeFileSync(join(directory, 'rules.yml'), printRules(rules));
  writeFileSync(join(directory, 'test.yml'), testFile(rules, series, history));
  const { stdout, stderr } = spawnSync(promtoolPath(), ['test', 'rules', join(directory, 'test.yml')], {
    maxBuffer: 1e9,
  });
  return `${String(stdout)}${String(stderr)}`.replaceAll(/\n+/g, '\n').slice(0, 3_000);
}

describe('on the same series', { timeout: 120_000 }, () => {
  test.each([1, 2, 3])(
    'both engines have the same alerts, pending and firing, with the same words, at every step (seed %i)',
    async (seed) => {
      const series = ruleSeries(generator(seed));
      const history = await ours(series);
      const fired = new Set(history.flat().flatMap(({ name, state }) => (state === 'firing' ? name : [])));
      // No rule is left untried.
      expect(namesOf(defaults).filter((name) => !fired.has(name))).toEqual([]);
      expect(judge(series, history)).toContain('SUCCESS');
    },
  );

  test('also when ours is started anew again and again', async () => {
    const series = ruleSeries(generator(4));
    const restarts = Array.from({ length: 40 }, (_, i) => 5 + i * 9);
    expect(judge(series, await ours(series, { restarts }))).toContain('SUCCESS');
  });

  test('a difference of one step in one alert would be seen', async () => {
    const series = ruleSeries(generator(1));
    const history = await ours(series);
    const at = history.findIndex((alerts) => alerts.some(({ name }) => name === 'XiaokeBreakerOpen'));
    const late = history.map((alerts, i) => (i === at + 4 ? (history[at] ?? []) : alerts));
    expect(judge(series, late)).toContain('FAILED');
  });

  test('keep_firing_for, an alert that comes back, and a label made by a template are the same', async () => {
    const rules: RuleGroup[] = [
      {
        name: 'g',
        rules: [
          {
            alert: 'Kept',
            expr: 'v > 4',
            for: '1m',
            keep_firing_for: '2m',
            labels: { size: '{{ $labels.k | toUpper }}', empty: '' },
          },
          { alert: 'Scalar', expr: '2 > bool 1', annotations: { a: '{{ $value }}' } },
          { alert: 'Instant', expr: 'sum by (k) (v) > 6' },
        ],
      },
    ];
    const random = generator(9);
    const series = ['a', 'b'].map((k): RuleSeries => {
      const values = Array.from({ length: 200 }, () => (random() < 0.05 ? undefined : random() * 8));
      // Runs of the same, so that `for` is reached now and then.
      return { name: 'v', labels: { k }, kind: 'gauge', values: values.map((_, i) => values[i - (i % 5)]) };
    });
    const history = await ours(series, { rules, steps: 200 });
    expect(
      history.flat().filter(({ name, state }) => name === 'Kept' && state === 'firing').length,
    ).toBeGreaterThan(20);
    expect(judge(series, history, rules)).toContain('SUCCESS');
  });

  test('texts come out in the same words', async () => {
    const functions = [
      'humanize',
      'humanize1024',
      'humanizeDuration',
      'humanizePercentage',
      'humanizeTimestamp',
    ];
    const printed = ['%.2f', '%.3g', '%g', '%v', '%.0f', '%f'].map(
      (format) => `{{ printf "${format}" $value }}`,
    );
    const text = [...functions.map((name) => `{{ $value | ${name} }}`), ...printed, '{{ $value }}'].join(
      ' | ',
    );
    const rules: RuleGroup[] = [
      {
        name: 'g',
        rules: [
          {
            alert: 'Words',
            expr: 'v',
            annotations: {
              numbers: text,
              labels:
                '{{ $labels.a | title }} {{ .Labels.b | toLower }} {{ `x` }} {{ "y" }} {{- " z" }} {{ $labels.none }}| {{ $labels.i -}}  end',
            },
          },
        ],
      },
    ];
    // What does not fit a timestamp is an error there.
    const numbers = [
      0,
      1,
      -1,
      0.5,
      0.0001234,
      1e-9,
      12.5,
      59,
      60,
      61.5,
      3_599,
      3_600,
      90_061,
      1e6,
      123_456_789,
      1.5e9,
      -42.42,
      1_000,
      1_024,
      1_048_576,
      1_700_000_000,
      1_700_000_000.25,
      0.99999,
      33.333333,
      NaN,
      Infinity,
      -Infinity,
    ];
    const series = numbers.map((value, i): RuleSeries => {
      const labels = { a: 'two words', b: 'ÜPPER', i: String(i) };
      return { name: 'v', labels, kind: 'gauge', values: [value] };
    });
    const history = await ours(series, { rules, steps: 1 });
    expect(history[0]).toHaveLength(numbers.length);
    expect(judge(series, history, rules)).toContain('SUCCESS');
  });
});
