/** What a thousand checks cost, each run ten times a second with thresholds and history, and what it costs to read the report. */
import { createHealthCheckManager } from '@xiaoke/health';
import { compare, throughput, type Figures } from '../harness.ts';

const CHECKS = 1_000;
const INTERVAL = 100;
const MILLISECONDS = 3_000;

/** The floor: the same number of timers that run the same function, and keep nothing. */
async function bare(): Promise<Figures> {
  let runs = 0;
  const timers = Array.from({ length: CHECKS }, () =>
    setInterval(() => {
      void Promise.resolve(true).then(() => (runs += 1));
    }, INTERVAL),
  );
  const used = await cpuOf(MILLISECONDS);
  for (const timer of timers) clearInterval(timer);
  return { 'cpu µs/run': used / runs };
}

async function scheduled(): Promise<Figures> {
  const health = createHealthCheckManager({ defaults: { interval: INTERVAL, timeout: INTERVAL } });
  for (let index = 0; index < CHECKS; index += 1)
    health.registerCustomChecker(`check-${index}`, async () => true);
  await health.start();
  const before = health.stats().runs;
  const used = await cpuOf(MILLISECONDS);
  const { runs } = health.stats();
  const read = await throughput(() => health.report('readiness'));
  await health.close();
  return { 'cpu µs/run': used / (runs - before), 'report µs': read['ns/op'] / 1_000 };
}

async function cpuOf(milliseconds: number): Promise<number> {
  const start = process.cpuUsage();
  await new Promise((resolve) => setTimeout(resolve, milliseconds));
  const { user, system } = process.cpuUsage(start);
  return user + system;
}

await compare({
  name: 'health/check-runs',
  rounds: 5,
  candidates: { xiaoke: scheduled, 'bare timers': bare },
  lowerIsBetter: ['cpu µs/run', 'report µs'],
  bars: [
    { figure: 'cpu µs/run', atMost: 12 },
    { figure: 'report µs', atMost: 1 },
  ],
});
