import { once } from 'node:events';
import { createServer } from 'node:net';
import { expect, test } from 'vitest';
import { issuePath, noopMetrics, silentLogger, type MetricsSink } from '@xiaoke/core';
import { eventually, recordingMetrics, trackLeaks } from '@xiaoke/core/testing';

function use(sink: MetricsSink): void {
  const finished = sink.counter({
    name: 'tasks_total',
    help: 'x',
    labels: { queue: String, outcome: ['ok', 'bad'] },
  });
  finished.inc({ queue: 'a', outcome: 'ok' });
  finished.with({ queue: 'a', outcome: 'ok' }).inc(2);
  const held = sink.gauge({ name: 'held', help: 'x', collect: (gauge) => gauge.set(9) });
  held.set(4);
  held.dec();
  const lag = sink.gauge({ name: 'lag', help: 'x', labels: { shard: String } });
  lag.set({ shard: '1' }, 3);
  lag.remove({ shard: '1' });
  const wait = sink.histogram({ name: 'wait_seconds', help: 'x', labels: { queue: String }, buckets: [1] });
  wait.observe({ queue: 'a' }, 0.5);
  wait.with({ queue: 'a' }).observe(2);
}

test('the default sink and logger accept everything', () => {
  use(noopMetrics);
  silentLogger.error({ err: 1 }, 'nothing');
});

test('the recording sink keeps every number', async () => {
  const sink = recordingMetrics();
  use(sink);
  expect(sink.value('tasks_total', { outcome: 'ok', queue: 'a' })).toBe(3);
  expect(sink.value('held')).toBe(3);
  await sink.collect();
  expect(sink.value('held')).toBe(9);
  expect(sink.value('lag', { shard: '1' })).toBe(0);
  expect(sink.observations('wait_seconds', { queue: 'a' })).toEqual([0.5, 2]);
  expect(sink.observations('none')).toEqual([]);
  expect(sink.names()).toEqual(['tasks_total', 'held', 'lag', 'wait_seconds']);
});

test('the path of an issue reads like code', () => {
  expect(issuePath({ message: 'x', path: ['a', { key: 'b' }, 0, 'c'] })).toBe('a.b[0].c');
  expect(issuePath({ message: 'x' })).toBe('');
});

test('eventually gives the value, or the last failure when its time is over', async () => {
  let looks = 0;
  expect(await eventually(() => (looks += 1) > 2 && 'there')).toBe('there');
  await expect(eventually(() => false, { timeout: 20 })).rejects.toThrow('still false after 20 ms');
  await expect(
    eventually(() => Promise.reject(new Error('not yet')), { timeout: 20, interval: 1 }),
  ).rejects.toThrow('not yet');
});

test('the leak check fails for a timer that was left, and a server that was left, and passes once they are gone', async () => {
  const check = trackLeaks();
  const timer = setTimeout(() => {}, 60_000).unref();
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  await expect(check(50)).rejects.toThrow('left alive: TCPSERVERWRAP, Timeout');
  clearTimeout(timer);
  server.close();
  await check();
});
