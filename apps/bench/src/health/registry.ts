/** The registry on a real Redis: heartbeats a second, and how long until a watcher in another connection hears of a change. */
import { randomUUID } from 'node:crypto';
import { startRedis } from '@xiaoke/test-servers';
import { createServiceRegistry } from '@xiaoke/health/discovery';
import { compare, percentile, type Figures } from '../harness.ts';

const INSTANCES = 1_000;
const MILLISECONDS = 1_500;
const CHANGES = 300;

await using redis = await startRedis();

async function heartbeats(serviceOf: (index: number) => string): Promise<number> {
  const registry = createServiceRegistry({
    redis: redis.url,
    namespace: randomUUID(),
    heartbeat: 10,
    jitter: 0,
  });
  for (let index = 0; index < INSTANCES; index += 100) {
    await Promise.all(
      Array.from({ length: 100 }, (_, offset) =>
        registry.register({
          id: `i${index + offset}`,
          service: serviceOf(index + offset),
          url: 'http://10.0.0.1:80',
        }),
      ),
    );
  }
  const start = performance.now();
  const before = registry.stats().heartbeats;
  await new Promise((resolve) => setTimeout(resolve, MILLISECONDS));
  const beats = registry.stats().heartbeats - before;
  const elapsed = performance.now() - start;
  await registry.close();
  return (beats / elapsed) * 1_000;
}

async function latencies(): Promise<readonly number[]> {
  const namespace = randomUUID();
  const provider = createServiceRegistry({ redis: redis.url, namespace });
  const consumer = createServiceRegistry({ redis: redis.url, namespace });
  const watch = consumer.watch('svc');
  await watch.ready();
  // The connections are warm, and the scripts known.
  await provider.register({ id: 'first', service: 'svc', url: 'http://10.0.0.1:80' });
  const waits: number[] = [];
  for (let index = 0; index < CHANGES; index += 1) {
    const start = performance.now();
    const heard = new Promise<void>((resolve) => {
      const forget = watch.onChange(({ instances }) => {
        if (!instances.some(({ id }) => id === `i${index}`)) return;
        waits.push(performance.now() - start);
        forget();
        resolve();
      });
    });
    const instance = await provider.register({ id: `i${index}`, service: 'svc', url: 'http://10.0.0.1:80' });
    await heard;
    await instance.deregister();
  }
  await Promise.all([provider.close(), consumer.close()]);
  return waits;
}

async function measure(): Promise<Figures> {
  const waits = await latencies();
  return {
    // Each is a command of its own, as it is from a thousand processes.
    'heartbeats/s': await heartbeats((index) => `svc-${index}`),
    'heartbeats/s, one service': await heartbeats(() => 'svc'),
    'heard p50 ms': percentile(waits, 0.5),
    'heard p99 ms': percentile(waits, 0.99),
  };
}

await compare({
  name: 'health/registry',
  rounds: 5,
  candidates: { xiaoke: measure },
  lowerIsBetter: ['heard p50 ms', 'heard p99 ms'],
  bars: [
    { figure: 'heartbeats/s', atLeast: 30_000 },
    { figure: 'heard p50 ms', atMost: 1 },
  ],
});
