/** Metrics of several processes and threads as one: real cluster workers, real threads, killed and stopped. */
import { randomUUID } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { afterEach, describe, expect, test } from 'vitest';
import { spawnNode } from '@xiaoke/test-servers';
import { eventually, FakeClock, recordingLogger } from '@xiaoke/core/testing';
import { createMetricsCollector } from '@xiaoke/metrics';
import { createMetricsAggregator, reportMetrics, type ForkedProcess } from '@xiaoke/metrics/aggregation';

/** The value of the line that begins with `series `. */
function valueIn(text: string, series: string): number | undefined {
  const line = text.split('\n').find((one) => one.startsWith(`${series} `));
  return line === undefined ? undefined : Number(line.slice(series.length + 1));
}

async function startCluster() {
  const primary = spawnNode(new URL('./fixtures/cluster-primary.ts', import.meta.url));
  let ids = 0;
  const ask = async (command: string, argument = 0): Promise<unknown> => {
    const id = ++ids;
    primary.send({ id, command, argument });
    return (await primary.message((message) => message['id'] === id, 30_000))['result'];
  };
  await primary.message(({ kind }) => kind === 'ready', 60_000);
  const total = async (): Promise<number> => {
    const text = String(await ask('scrape'));
    return [0, 1, 2].reduce((sum, k) => sum + (valueIn(text, `jobs_total{kind="k${k}"}`) ?? 0), 0);
  };
  return {
    primary,
    ask,
    total,
    [Symbol.asyncDispose]: async () => {
      await ask('end').catch(() => {});
      await primary.kill();
    },
  };
}

describe('a cluster', { timeout: 120_000 }, () => {
  test('of four workers has exact totals, in every kind of metric, stock ones too', async () => {
    await using cluster = await startCluster();
    await cluster.ask('fork', 4);
    await cluster.ask('tell', 3_000);
    await eventually(async () => (await cluster.total()) === 12_000, { timeout: 30_000, interval: 50 });
    const text = String(await cluster.ask('scrape'));
    expect(valueIn(text, 'jobs_total{kind="k0"}')).toBe(4_000);
    expect(valueIn(text, 'jobs_total{kind="local"}')).toBe(5);
    expect(valueIn(text, 'job_seconds_bucket{le="1"}')).toBe(8_000);
    expect(valueIn(text, 'job_seconds_count')).toBe(12_000);
    expect(valueIn(text, 'job_seconds_sum')).toBe(12_000);
    expect(valueIn(text, 'sizes_count')).toBe(12_000);
    expect(valueIn(text, 'stock_total{a="x"}')).toBe(12_000);
    expect(valueIn(text, 'stock_seconds_bucket{le="2"}')).toBe(12_000);
    expect(valueIn(text, 'stock_seconds_bucket{le="1"}')).toBe(8_000);
    // Gauges add up, but a backlog that all of them see is one.
    expect(valueIn(text, 'connections')).toBe(41);
    expect(valueIn(text, 'xiaoke_queue_tasks')).toBe(7);
    expect(valueIn(text, 'build_info{version="1"}')).toBe(1);
    expect(text).toContain('\nodd +Inf\n');
    expect(valueIn(text, 'least')).toBeGreaterThan(0);
    expect(valueIn(text, 'xiaoke_metrics_sources{state="heard"}')).toBe(5);
  });

  test('loses no worker that is killed: its counts stay, its gauges go, and no counter ever falls', async () => {
    await using cluster = await startCluster();
    await cluster.ask('fork', 4);
    const seen: number[] = [];
    const watching = (async () => {
      for (let i = 0; i < 60; i++) seen.push(await cluster.total());
    })();
    for (let round = 0; round < 3; round++) {
      await cluster.ask('tell', 2_000);
      await cluster.ask('kill', round);
    }
    await watching;
    expect(seen).toEqual([...seen].sort((a, b) => a - b));
    const settled = await cluster.total();
    const text = String(await cluster.ask('scrape'));
    expect(valueIn(text, 'connections')).toBe(11);
    // Workers that take their place only add.
    await cluster.ask('fork', 3);
    await cluster.ask('tell', 1_000);
    await eventually(async () => (await cluster.total()) === settled + 4_000, {
      timeout: 30_000,
      interval: 50,
    });
  });

  test('is scraped at once while a worker stands still, and knows the end of one that leaves', async () => {
    await using cluster = await startCluster();
    await cluster.ask('fork', 2);
    await cluster.ask('tell', 300);
    await eventually(async () => (await cluster.total()) === 600, { timeout: 30_000, interval: 50 });
    await cluster.ask('stop', 0);
    const before = performance.now();
    expect(await cluster.total()).toBe(600);
    // Well below the seconds that asking the worker would cost.
    expect(performance.now() - before).toBeLessThan(2_000);
    await cluster.ask('proceed', 0);
    await cluster.ask('leave', 0);
    await eventually(async () => (await cluster.ask('sources')) === 2, { interval: 50 });
    expect(await cluster.total()).toBe(600);
    expect(valueIn(String(await cluster.ask('scrape')), 'connections')).toBe(11);
  });
});

const loader = new URL('../loader/run-fixture.mjs', import.meta.resolve('@xiaoke/test-servers'));

function startThread(calls: number, channel: string) {
  const progress = new SharedArrayBuffer(12);
  const done = new Int32Array(progress);
  const worker = new Worker(fileURLToPath(loader), {
    argv: [new URL('./fixtures/busy-thread.ts', import.meta.url).href],
    execArgv: ['--conditions=@xiaoke/source', '--no-warnings'],
    env: { ...process.env, NODE_OPTIONS: '' },
    workerData: { progress, calls, channel },
  });
  const failed = new Promise<never>((_, reject) => {
    worker.once('error', reject);
  });
  const reached = (index: number): Promise<unknown> =>
    Promise.race([failed, eventually(() => Atomics.load(done, index) === 1, { timeout: 60_000 })]);
  return { worker, done, sharing: () => reached(1), finished: () => reached(2) };
}

const threads: Worker[] = [];
afterEach(async () => {
  for (const worker of threads.splice(0)) await worker.terminate();
});

describe('threads', { timeout: 120_000 }, () => {
  test('four of them have exact totals while they are too busy to answer, and after they are gone', async () => {
    const channel = randomUUID();
    await using all = createMetricsAggregator({ channel });
    const scrape = async (): Promise<string> => String((await all.collector.metrics()).body);
    const calls = 200_000;
    const started = [1, 2, 3, 4].map(() => startThread(calls, channel));
    threads.push(...started.map(({ worker }) => worker));
    for (const { worker } of started) all.watch(worker);
    await Promise.all(started.map(({ sharing }) => sharing()));
    // None of them turns its event loop now; what they count is seen all the same.
    await eventually(async () => (valueIn(await scrape(), 'late_total{id="a"}') ?? 0) > 0);
    const before = performance.now();
    const text = await scrape();
    expect(performance.now() - before).toBeLessThan(1_000);
    expect(valueIn(text, 'busy')).toBe(4);
    await Promise.all(started.map(({ finished }) => finished()));
    const end = await scrape();
    expect(valueIn(end, 'late_total{id="a"}')).toBe(4 * calls);
    expect(valueIn(end, 'before_total')).toBe(4 * (calls + 3));
    expect(valueIn(end, 'work_seconds_count')).toBe(4 * calls);
    expect(valueIn(end, 'native_seconds_count')).toBe(400);
    await Promise.all(started.map(({ worker }) => worker.terminate()));
    const after = await scrape();
    expect(valueIn(after, 'late_total{id="a"}')).toBe(4 * calls);
    expect(valueIn(after, 'busy')).toBeUndefined();
    expect(valueIn(after, 'xiaoke_metrics_sources{state="heard"}')).toBe(0);
  });

  test('one that is terminated in the middle of its work loses nothing that it had counted', async () => {
    const channel = randomUUID();
    await using all = createMetricsAggregator({ channel });
    const { worker, done, sharing } = startThread(2e9, channel);
    threads.push(worker);
    all.watch(worker);
    await sharing();
    await eventually(() => Atomics.load(done, 0) > 10_000);
    await worker.terminate();
    const counted = Atomics.load(done, 0);
    const text = String((await all.collector.metrics()).body);
    const total = valueIn(text, 'late_total{id="a"}') ?? 0;
    // It may have been ended between counting and saying so.
    expect(total - counted).toBeGreaterThanOrEqual(0);
    expect(total - counted).toBeLessThanOrEqual(1);
  });

  test('one that began before anybody listened is known in full', async () => {
    const channel = randomUUID();
    const { worker, finished } = startThread(1_000, channel);
    threads.push(worker);
    await finished();
    await using all = createMetricsAggregator({ channel });
    await eventually(async () => {
      const text = String((await all.collector.metrics()).body);
      return valueIn(text, 'late_total{id="a"}') === 1_000 && valueIn(text, 'busy') === 1;
    });
  });
});

/** A process that the test plays. */
function played() {
  const listeners = { message: new Set<(message: unknown) => void>(), disconnect: new Set<() => void>() };
  const process: ForkedProcess = {
    on: (event: 'message' | 'disconnect', listener: never) => listeners[event].add(listener),
    off: (event: 'message' | 'disconnect', listener: never) => listeners[event].delete(listener),
  };
  const say = (report: object): void => {
    const full = {
      source: 'p',
      threadId: 0,
      bye: false,
      families: [],
      series: [],
      numbers: [],
      natives: [],
      removed: [],
      pages: [],
      ...report,
    };
    for (const listener of listeners.message) listener({ 'xiaoke.metrics': full });
  };
  const leave = (): void => {
    for (const listener of listeners.disconnect) listener();
  };
  return { process, say, leave, listeners };
}

const counterFamily = {
  id: 0,
  name: 'c_total',
  help: 'C.',
  type: 'counter',
  labels: ['a', 'b'],
  aggregate: 'sum',
};

describe('what goes wrong', () => {
  test('reports that come twice, late or after the end change nothing', async () => {
    await using all = createMetricsAggregator();
    const { process, say, leave } = played();
    all.watch(process);
    const value = async (): Promise<number | undefined> =>
      valueIn(String((await all.collector.metrics()).body), 'c_total{a="1",b="2"}');
    // Numbers of a series that nobody has defined yet.
    say({ numbers: [[0, 5]] });
    expect(await value()).toBeUndefined();
    const whole = { families: [counterFamily], series: [[0, 0, ['1', '2']]], numbers: [[0, 5]] };
    say(whole);
    say(whole);
    expect(await value()).toBe(5);
    leave();
    expect(await value()).toBe(5);
    say({ ...whole, numbers: [[0, 9]] });
    expect(await value()).toBe(5);
  });

  test('labels in another order are the same series, and another shape is refused once, by name', async () => {
    const logger = recordingLogger();
    await using all = createMetricsAggregator({ logger });
    const [one, two] = [played(), played()];
    all.watch(one.process).watch(two.process);
    one.say({ source: '1', families: [counterFamily], series: [[0, 0, ['x', 'y']]], numbers: [[0, 1]] });
    const turned = { ...counterFamily, labels: ['b', 'a'] };
    two.say({ source: '2', families: [turned], series: [[0, 0, ['y', 'x']]], numbers: [[0, 2]] });
    const other = { ...counterFamily, id: 1, labels: ['a'] };
    two.say({
      source: '2',
      families: [other],
      series: [
        [1, 1, ['x']],
        [2, 1, ['z']],
      ],
      numbers: [[1, 100]],
    });
    const text = String((await all.collector.metrics()).body);
    expect(valueIn(text, 'c_total{a="x",b="y"}')).toBe(3);
    expect(text).not.toContain('100');
    expect(logger.lines.filter(({ message }) => message.includes('differently'))).toHaveLength(1);
  });

  test('the gauges of a source that is silent are left out until it is heard again', async () => {
    const clock = new FakeClock();
    await using all = createMetricsAggregator({ clock, silentAfter: '30s' });
    const { process, say } = played();
    all.watch(process);
    const gauge = { ...counterFamily, name: 'g', type: 'gauge', labels: [] };
    say({ families: [gauge], series: [[0, 0, []]], numbers: [[0, 4]] });
    const value = async (): Promise<number | undefined> =>
      valueIn(String((await all.collector.metrics()).body), 'g');
    expect(await value()).toBe(4);
    await clock.advance(31_000);
    expect(await value()).toBe(0);
    expect(all.sources()).toMatchObject([{ silent: true, series: 1 }]);
    say({});
    expect(await value()).toBe(4);
    // After ten minutes it has ended, whatever it was.
    await clock.advance(601_000);
    expect(await value()).toBeUndefined();
    expect(all.sources()).toEqual([]);
  });

  test('a last gauge shows who spoke last, and a series that was removed goes', async () => {
    await using all = createMetricsAggregator();
    const [one, two] = [played(), played()];
    all.watch(one.process).watch(two.process);
    const gauge = { ...counterFamily, name: 'g', type: 'gauge', labels: [], aggregate: 'last' };
    const value = async (): Promise<number | undefined> =>
      valueIn(String((await all.collector.metrics()).body), 'g');
    one.say({ source: '1', families: [gauge], series: [[0, 0, []]], numbers: [[0, 1]] });
    two.say({ source: '2', families: [gauge], series: [[0, 0, []]], numbers: [[0, 2]] });
    expect(await value()).toBe(2);
    one.say({ source: '1', numbers: [[0, 'NaN']] });
    expect(await value()).toBeNaN();
    one.say({ source: '1', removed: [0] });
    two.say({ source: '2', removed: [0] });
    expect(await value()).toBeUndefined();
  });

  test('ten thousand label values of many processes make no more series than the limit, and the sum stays', async () => {
    await using all = createMetricsAggregator({ seriesPerMetric: 100 });
    for (let p = 0; p < 4; p++) {
      const { process, say } = played();
      all.watch(process);
      const ids = Array.from({ length: 2_500 }, (_, i) => i);
      say({
        source: String(p),
        families: [{ ...counterFamily, labels: ['a'] }],
        series: ids.map((id) => [id, 0, [`${p}-${id}`]]),
        numbers: ids.map((id) => [id, 2]),
      });
    }
    const lines = String((await all.collector.metrics()).body)
      .split('\n')
      .filter((line) => line.startsWith('c_total{'));
    expect(lines).toHaveLength(101);
    expect(lines.reduce((sum, line) => sum + Number(line.split(' ')[1]), 0)).toBe(20_000);
  });

  test('closing lets go of every listener', async () => {
    const all = createMetricsAggregator();
    const { process, listeners } = played();
    all.watch(process);
    await all.close();
    expect([listeners.message.size, listeners.disconnect.size]).toEqual([0, 0]);
  });

  test.each([
    ['cluster', () => createMetricsAggregator().cluster({} as never)],
    ['worker', () => createMetricsAggregator().watch({} as never)],
    ['silentAfter', () => createMetricsAggregator({ silentAfter: 0 })],
    ['interval', () => reportMetrics(createMetricsCollector(), { interval: 1 })],
  ])('a bad %s is refused', (option, make) => {
    expect(make).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTION', details: expect.objectContaining({ option }) }),
    );
  });
});
