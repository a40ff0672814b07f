import { execFileSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { expect, test } from 'vitest';

import {
  chromiumPath,
  eventually,
  promtoolPath,
  startAlertmanager,
  startPrometheus,
  startPushgateway,
} from '../src/index.ts';

const ALERTS = `
route: { receiver: nobody }
receivers: [{ name: nobody }]
`;

const RULES = `
groups:
  - name: always
    interval: 100ms
    rules: [{ alert: Always, expr: vector(1) }]
`;

test('an alert of a private Prometheus reaches a private Alertmanager', async () => {
  await using alertmanager = await startAlertmanager({ config: ALERTS });
  await using prometheus = await startPrometheus({
    config: `
rule_files: [rules.yml]
alerting: { alertmanagers: [{ static_configs: [{ targets: ['127.0.0.1:${alertmanager.port}'] }] }] }
`,
    files: { 'rules.yml': RULES },
  });

  const alerts = await eventually(async () => {
    const response = await fetch(`${alertmanager.url}/api/v2/alerts`);
    const body: unknown = await response.json();
    return Array.isArray(body) && body.length > 0 && body;
  });
  expect(alerts).toMatchObject([{ labels: { alertname: 'Always' } }]);
  expect(prometheus.url).toBe(`http://127.0.0.1:${prometheus.port}`);
});

test('a configuration is read again, and a wrong one refused', async () => {
  const prometheus = await startPrometheus({ config: 'global: { scrape_interval: 1s }' });
  const file = join(prometheus.directory, 'prometheus.yml');
  writeFileSync(file, 'global: { scrape_interval: 2s }');
  await prometheus.reload();

  const response = await fetch(`${prometheus.url}/api/v1/status/config`);
  expect(await response.text()).toContain('scrape_interval: 2s');
  writeFileSync(file, 'nonsense: 1');
  await expect(prometheus.reload()).rejects.toThrow(/nonsense/);

  await prometheus.stop();
  expect(existsSync(prometheus.directory)).toBe(false);
});

test('a wrong configuration fails the start with what the server said', async () => {
  await expect(startPrometheus({ config: 'nonsense: 1' })).rejects.toThrow(/nonsense/);
});

test('promtool and Chromium are found', () => {
  expect(existsSync(promtoolPath())).toBe(true);
  expect(execFileSync(chromiumPath(), ['--version'], { encoding: 'utf8' })).toMatch(/^Chromium \d+/);
});

test('a private Pushgateway takes what is pushed and shows it', async () => {
  await using gateway = await startPushgateway();
  const pushed = await fetch(`${gateway.url}/metrics/job/j`, { method: 'PUT', body: 'm 1\n' });
  expect(pushed.ok).toBe(true);
  const shown = await fetch(`${gateway.url}/metrics`);
  expect(await shown.text()).toContain('m{instance="",job="j"} 1');
});
