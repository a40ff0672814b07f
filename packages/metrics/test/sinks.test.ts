/** Where alerts are told: a real Alertmanager, and real HTTP receivers in the place of the others. */
import { createHmac } from 'node:crypto';
import { afterEach, describe, expect, test } from 'vitest';
import { startAlertmanager, startRedis } from '@xiaoke/test-servers';
import { eventually, FakeClock, recordingLogger } from '@xiaoke/core/testing';
import { createTimeSeriesStore, type TimeSeriesStore } from '@xiaoke/metrics/store';
import {
  alertmanagerSink,
  createAlertManager,
  dingTalkSink,
  feishuSink,
  logSink,
  redisState,
  webhookSink,
  weComSink,
  type AlertManager,
  type AlertManagerOptions,
  type AlertNotification,
  type AlertSink,
} from '@xiaoke/metrics/alerts';
import { startReceiver } from './support/receiver.ts';

const open: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const one of open.splice(0)) await one.close();
});

const ALERT = {
  alert: 'Deep',
  expr: 'depth > 10',
  labels: { severity: 'critical' },
  annotations: { summary: 'queue "{{ $labels.queue }}" is <b>{{ $value }}</b> deep' },
};

interface Setup {
  clock: FakeClock;
  store: TimeSeriesStore;
  alerts: AlertManager;
  /** Ten seconds with this depth. */
  turn(value: number): Promise<void>;
}

function setUp(options: Partial<AlertManagerOptions> = {}, clock = new FakeClock()): Setup {
  const store = createTimeSeriesStore({ clock });
  const alerts = createAlertManager({
    rules: [ALERT],
    source: store,
    clock,
    interval: '10s',
    groupWait: 0,
    // The clock is moved by hand while real requests are under way.
    sinkTimeout: '1h',
    ...options,
  });
  open.push(alerts, store);
  const turn = async (value: number): Promise<void> => {
    await store.append(clock.now(), [{ labels: { __name__: 'depth', queue: 'q"1' }, value, kind: 'gauge' }]);
    await alerts.evaluate();
    await clock.advance(10_000);
  };
  return { clock, store, alerts, turn };
}

/** One notification, firing and then resolved, as each sink sends it. */
async function told(make: (url: string) => AlertSink) {
  const receiver = await startReceiver();
  receiver.answer = () => ({ body: '{"errcode":0,"code":0}' });
  const { turn, clock } = setUp({ sinks: [make(`${receiver.url}/hook?token=s3cret`)] });
  const at = clock.now();
  await turn(20);
  await eventually(() => receiver.requests.length === 1);
  for (let i = 0; i < 8; i++) await turn(1);
  await eventually(() => receiver.requests.length === 2);
  await receiver[Symbol.asyncDispose]();
  return { at, requests: receiver.requests };
}

describe('what is sent', () => {
  test('a webhook gets what Alertmanager would send, version 4', async () => {
    const { requests } = await told((url) => webhookSink(url, { headers: { authorization: 'Bearer x' } }));
    expect(requests[0]?.headers['authorization']).toBe('Bearer x');
    expect(requests[0]?.json()).toMatchObject({
      version: '4',
      status: 'firing',
      groupLabels: { alertname: 'Deep' },
      commonLabels: { alertname: 'Deep', severity: 'critical', queue: 'q"1' },
      alerts: [
        {
          status: 'firing',
          labels: { alertname: 'Deep', severity: 'critical', queue: 'q"1' },
          annotations: { summary: 'queue "q"1" is <b>20</b> deep' },
          endsAt: '0001-01-01T00:00:00Z',
        },
      ],
    });
    const resolved = requests[1]?.json() as {
      status: string;
      alerts: { startsAt: string; endsAt: string }[];
    };
    expect(resolved.status).toBe('resolved');
    const [alert] = resolved.alerts;
    expect(Date.parse(alert?.endsAt ?? '')).toBeGreaterThan(Date.parse(alert?.startsAt ?? ''));
  });

  test('DingTalk gets markdown, signed with the secret', async () => {
    const clock = new FakeClock();
    const { requests } = await told((url) => dingTalkSink(url, { secret: 'SEC1', clock }));
    const url = new URL(requests[0]?.path ?? '', 'http://x');
    const timestamp = String(clock.now());
    expect(url.searchParams.get('timestamp')).toBe(timestamp);
    expect(url.searchParams.get('token')).toBe('s3cret');
    expect(url.searchParams.get('sign')).toBe(
      createHmac('sha256', 'SEC1').update(`${timestamp}\nSEC1`).digest('base64'),
    );
    expect(requests[0]?.json()).toMatchObject({
      msgtype: 'markdown',
      markdown: {
        title: '[FIRING: 1] Deep',
        text: expect.stringContaining('FIRING Deep (critical): queue "q"1"'),
      },
    });
  });

  test('Feishu gets text, signed its own way', async () => {
    const clock = new FakeClock();
    const { requests } = await told((url) => feishuSink(url, { secret: 'S', clock }));
    const timestamp = String(Math.floor(clock.now() / 1_000));
    expect(requests[0]?.json()).toMatchObject({
      msg_type: 'text',
      timestamp,
      sign: createHmac('sha256', `${timestamp}\nS`).update('').digest('base64'),
      content: { text: expect.stringContaining('[FIRING: 1] Deep') },
    });
    expect(requests[1]?.json()).toMatchObject({
      content: { text: expect.stringContaining('[RESOLVED: 1]') },
    });
  });

  test('WeCom gets markdown of no more bytes than it takes', async () => {
    const { requests } = await told((url) => weComSink(url));
    expect(requests[0]?.json()).toMatchObject({ msgtype: 'markdown' });
    const receiver = await startReceiver();
    const long = { ...ALERT, annotations: { summary: '长'.repeat(3_000) } };
    const { turn } = setUp({ rules: [long], sinks: [weComSink(receiver.url)] });
    await turn(20);
    await eventually(() => receiver.requests.length === 1);
    const sent = receiver.requests[0]?.json() as { markdown: { content: string } } | undefined;
    const content = sent?.markdown.content ?? '';
    expect(Buffer.byteLength(content)).toBeGreaterThan(4_000);
    expect(Buffer.byteLength(content)).toBeLessThanOrEqual(4_096);
    expect(content).not.toContain('\ufffd');
    await receiver[Symbol.asyncDispose]();
  });

  test('a robot that answers 200 with a code of its own has refused', async () => {
    await using receiver = await startReceiver();
    receiver.answer = () => ({ body: '{"errcode":310000,"errmsg":"keywords not in content"}' });
    const logger = recordingLogger();
    const { turn, alerts } = setUp({ sinks: [dingTalkSink(`${receiver.url}?access_token=s3cret`)], logger });
    await turn(20);
    await eventually(() => receiver.requests.length === 1);
    const logged = (): string =>
      JSON.stringify(logger.lines, (_, value: unknown) =>
        value instanceof Error ? String(value.stack) : value,
      );
    await eventually(() => logged().includes('310000'));
    expect(alerts.stats().sent).toBe(0);
    // Neither the token nor the address reaches a log.
    expect(logged()).not.toContain('s3cret');
  });

  test('a log gets an error for firing and a line for the end', async () => {
    const logger = recordingLogger();
    const { turn } = setUp({ sinks: [logSink(logger)] });
    await turn(20);
    for (let i = 0; i < 8; i++) await turn(1);
    const lines = logger.lines.map(({ level, message }) => [level, message]);
    expect(lines).toEqual([
      ['error', '[FIRING: 1] Deep'],
      ['info', '[RESOLVED: 1] Deep'],
    ]);
  });
});

describe('a real Alertmanager', () => {
  const config = (url: string): string => `
route: { receiver: hook, group_by: [alertname], group_wait: 0s, group_interval: 1s, repeat_interval: 1h }
receivers: [{ name: hook, webhook_configs: [{ url: '${url}', send_resolved: true }] }]
`;
  interface Webhook {
    status: string;
    alerts: { labels: Record<string, string>; annotations: Record<string, string>; status: string }[];
  }

  test('of three instances it makes one notification, and one of the end', { timeout: 60_000 }, async () => {
    await using receiver = await startReceiver();
    await using alertmanager = await startAlertmanager({ config: config(receiver.url) });
    // Its clock is the wall's, so ours is too.
    const now = (): FakeClock => new FakeClock(Math.floor(Date.now() / 10_000) * 10_000 - 30_000);
    const all = [1, 2, 3].map(() => setUp({ sinks: [alertmanagerSink(alertmanager.url)] }, now()));
    for (const { turn } of all) await turn(20);
    await eventually(() => receiver.requests.length > 0, { timeout: 20_000 });
    for (const { alerts } of all) await eventually(() => alerts.stats().sent === 1);
    const firing = receiver.requests[0]?.json() as Webhook;
    expect(firing.status).toBe('firing');
    expect(firing.alerts).toHaveLength(1);
    expect(firing.alerts[0]).toMatchObject({
      labels: { alertname: 'Deep', severity: 'critical', queue: 'q"1' },
      annotations: { summary: 'queue "q"1" is <b>20</b> deep' },
    });
    for (const { turn } of all) await turn(1);
    const statuses = () => receiver.requests.map((request) => (request.json() as Webhook).status);
    await eventually(() => statuses().includes('resolved'), { timeout: 20_000 });
    expect(statuses()).toEqual(['firing', 'resolved']);
  });

  test('an alert that goes on firing is sent again before Alertmanager forgets it', async () => {
    await using receiver = await startReceiver();
    const clock = new FakeClock();
    const sink = alertmanagerSink(receiver.url, { clock });
    const { turn } = setUp({ sinks: [sink] }, clock);
    interface Posted {
      startsAt: string;
      endsAt: string;
    }
    const times: Posted[] = [];
    for (let i = 0; i < 31; i++) {
      await turn(20);
      await eventually(() => receiver.requests.length >= Math.floor(i / 6) + 1);
    }
    for (const request of receiver.requests) times.push(...(request.json() as Posted[]));
    // Five minutes: at once, and then every minute.
    expect(times).toHaveLength(6);
    expect(new Set(times.map(({ startsAt }) => startsAt)).size).toBe(1);
    const ends = times.map(({ endsAt }) => Date.parse(endsAt));
    expect(ends.map((end, i) => end - (ends[i - 1] ?? end))).toEqual([
      0, 60_000, 60_000, 60_000, 60_000, 60_000,
    ]);
  });
});

describe('when something is away', () => {
  test('a sink that is down misses nothing because another is up, and hears the end once', async () => {
    let down = true;
    const [good, bad]: AlertNotification[][] = [[], []];
    const { turn, alerts } = setUp({
      groupInterval: '30s',
      sinks: [
        { name: 'good', send: (notification) => Promise.resolve(void good?.push(notification)) },
        {
          name: 'bad',
          send: (notification) =>
            down ? Promise.reject(new Error('down')) : Promise.resolve(void bad?.push(notification)),
        },
      ],
    });
    // Longer than all attempts of one notification.
    for (let i = 0; i < 30; i++) await turn(20);
    expect([good?.length, bad?.length]).toEqual([1, 0]);
    expect(alerts.stats().sinkFailures).toBeGreaterThan(1);
    down = false;
    for (let i = 0; i < 10; i++) await turn(20);
    for (let i = 0; i < 20; i++) await turn(1);
    expect(good?.map(({ status }) => status)).toEqual(['firing', 'resolved']);
    expect(bad?.map(({ status }) => status)).toEqual(['firing', 'resolved']);
  });

  test('a sink that hangs is given up, tried again, and delays no other', async () => {
    const heard: string[] = [];
    let calls = 0;
    const { turn } = setUp({
      sinkTimeout: '5s',
      sinks: [{ name: 'hangs', send: () => (calls++, new Promise(() => {})) }, () => void heard.push('told')],
    });
    for (let i = 0; i < 6; i++) await turn(20);
    expect(heard).toEqual(['told']);
    expect(calls).toBeGreaterThan(1);
  });

  test(
    'with Redis not answering, alerts are evaluated and told all the same',
    { timeout: 60_000 },
    async () => {
      await using redis = await startRedis();
      const heard: AlertNotification[] = [];
      const state = redisState(redis.url, { namespace: 'away' });
      const first = setUp({ state, sinks: [(notification) => heard.push(notification)] });
      await first.turn(1);
      redis.pause();
      try {
        await first.turn(20);
        await eventually(() => heard.length === 1, { timeout: 15_000 });
        const second = setUp({
          state: redisState(redis.url, { namespace: 'away', instance: '2' }),
          sinks: [(notification) => heard.push(notification)],
        });
        await second.turn(20);
        await eventually(() => heard.length === 2, { timeout: 15_000 });
      } finally {
        redis.resume();
      }
    },
  );
});

test('sinks of the same name keep accounts of their own', async () => {
  const counts = [0, 0];
  const { turn } = setUp({
    sinks: [() => (counts[0] = (counts[0] ?? 0) + 1), () => (counts[1] = (counts[1] ?? 0) + 1)],
  });
  for (let i = 0; i < 5; i++) await turn(20);
  expect(counts).toEqual([1, 1]);
});

test.each([
  ['url', () => webhookSink('ftp://x')],
  ['url', () => alertmanagerSink('x')],
  ['resendEvery', () => alertmanagerSink('http://x', { resendEvery: 0 })],
  ['sinks[0]', () => setUp({ sinks: [{} as never] })],
  ['source', () => setUp({ source: {} as never })],
  ['rules', () => setUp({ rules: 7 as never })],
  ['inhibit[0].target', () => setUp({ inhibit: [{ source: { a: 'b' }, target: {} }] })],
])('a bad %s is refused', (option, make) => {
  expect(make).toThrow(
    expect.objectContaining({ code: 'INVALID_OPTION', details: expect.objectContaining({ option }) }),
  );
});
