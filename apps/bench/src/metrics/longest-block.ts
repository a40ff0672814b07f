/**
 * The longest time that the event loop is held while 100,000 series are scraped. Each candidate is measured in a process
 * of its own, since collecting the garbage of one would hold the loop of the other.
 */
import { execFile } from 'node:child_process';
import { PassThrough } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import promClient from 'prom-client';
import { createMetricsCollector } from '@xiaoke/metrics';
import { compare, type Figures } from '../harness.ts';

const SERIES = 100_000;
const SCRAPES = 9;

type Scrape = () => Promise<unknown>;

const labelsOf = (i: number): { queue: string; id: string } => ({ queue: `queue-${i % 10}`, id: `id-${i}` });

/** A scrape as the handler serves it, read by nobody slow. */
function own(): Scrape {
  const limits = { seriesPerMetric: 1_000_000 };
  const metrics = createMetricsCollector({ selfMetrics: false, exemplars: false, limits });
  const labels = { queue: String, id: String };
  const counter = metrics.counter({ name: 'jobs_total', help: 'Jobs.', labels });
  for (let i = 0; i < SERIES; i++) counter.inc(labelsOf(i), i * 1.5);
  const handler = metrics.handler();
  return async () => {
    const response = Object.assign(new PassThrough(), { statusCode: 0, setHeader: () => {} });
    response.resume();
    await handler({ method: 'GET', url: '/metrics', headers: {} }, response);
  };
}

function stock(): Scrape {
  const registry = new promClient.Registry();
  const definition = { name: 'jobs_total', help: 'Jobs.', labelNames: ['queue', 'id'] as const };
  const counter = new promClient.Counter({ ...definition, registers: [registry] });
  for (let i = 0; i < SERIES; i++) counter.inc(labelsOf(i), i * 1.5);
  return () => registry.metrics();
}

const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

const SCRAPED: Readonly<Record<string, () => Scrape>> = {
  xiaoke: own,
  'prom-client': stock,
  'no scrape at all': () => () => pause(100),
};

function cpuTime(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
}

/**
 * The longest times between two turns of the event loop in one scrape, in milliseconds. `wall` is what a clock says; on a
 * machine with other work most of it may be theirs. `cpu` is the processor time of the whole process between the two
 * turns, garbage collection in other threads included, so it is never too small.
 */
async function blocks(scrape: Scrape): Promise<{ wall: number; cpu: number }> {
  const longest = { wall: 0, cpu: 0 };
  let [wall, cpu] = [performance.now(), cpuTime()];
  let running = true;
  const look = (): void => {
    const [wallNow, cpuNow] = [performance.now(), cpuTime()];
    longest.wall = Math.max(longest.wall, wallNow - wall);
    longest.cpu = Math.max(longest.cpu, cpuNow - cpu);
    [wall, cpu] = [wallNow, cpuNow];
  };
  const watch = (): void => {
    look();
    if (running) setImmediate(watch);
  };
  setImmediate(watch);
  await scrape();
  running = false;
  look();
  return longest;
}

const middle = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[values.length >> 1] ?? NaN;

async function measure(name: string): Promise<Figures> {
  const scrape = SCRAPED[name]?.() ?? (() => Promise.resolve());
  // Warm, as after a minute of scrapes.
  for (let i = 0; i < 5; i++) await scrape();
  const all: { wall: number; cpu: number }[] = [];
  for (let i = 0; i < SCRAPES; i++) {
    await pause(50);
    all.push(await blocks(scrape));
  }
  return {
    'longest block cpu ms': middle(all.map(({ cpu }) => cpu)),
    'longest block wall ms': middle(all.map(({ wall }) => wall)),
  };
}

async function inOwnProcess(name: string): Promise<Figures> {
  const args = [fileURLToPath(import.meta.url), name];
  const { stdout } = await promisify(execFile)(process.execPath, args);
  return JSON.parse(stdout) as Figures;
}

const [, , wanted] = process.argv;
if (wanted !== undefined && wanted in SCRAPED) console.log(JSON.stringify(await measure(wanted)));
else {
  await compare({
    name: 'metrics/longest-block',
    rounds: 5,
    lowerIsBetter: ['longest block cpu ms', 'longest block wall ms'],
    candidates: Object.fromEntries(Object.keys(SCRAPED).map((name) => [name, () => inOwnProcess(name)])),
    bars: [{ figure: 'longest block cpu ms', atMost: 10 }],
  });
}
