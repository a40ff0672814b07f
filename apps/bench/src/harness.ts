/**
 * One way to compare: every candidate is measured in each round, in an order that turns, so that a slow spell of the
 * machine hits all of them; the median of the rounds counts, and only ratios within one run are claimed.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { fileURLToPath } from 'node:url';

/** What one measurement gives: a figure by name, such as `{ 'tasks/s': 12_000, 'cpu µs/task': 14 }`. */
export type Figures = Readonly<Record<string, number>>;

/** A claim about the medians of one run. */
export interface Bar {
  /** The figure it is about. */
  readonly figure: string;
  /** Whose figure. @default 'xiaoke' */
  readonly of?: string;
  /**
   * Compared with whom; `best peer` is the best of all others but our own variants and what is `bare`, a driver that does less than
   * any peer. Without it, the bar is about the figure itself.
   */
  readonly versus?: string;
  readonly atLeast?: number;
  readonly atMost?: number;
}

/** What is compared and how. */
export interface Comparison {
  /** `package/topic`; also the name of the results file. */
  readonly name: string;
  /** Measured once per round. Set up outside and return the figures of one measurement. */
  readonly candidates: Readonly<Record<string, () => Promise<Figures> | Figures>>;
  /** @default 5 */
  readonly rounds?: number;
  /** Figures for which less is better (times, bytes, CPU). */
  readonly lowerIsBetter?: readonly string[];
  readonly bars?: readonly Bar[];
}

/** A bar with what was measured. */
export interface Verdict extends Bar {
  readonly measured: number;
  readonly reached: boolean;
}

/** The medians and the verdicts of one run, as kept in `results/`. */
export interface Outcome {
  readonly name: string;
  readonly medians: Readonly<Record<string, Figures>>;
  readonly verdicts: readonly Verdict[];
}

/** Runs a comparison, prints its table and verdicts, and keeps the raw figures in `results/<name>.json`. */
export async function compare(comparison: Comparison): Promise<Outcome> {
  const { name, candidates, rounds = 5, lowerIsBetter = [], bars = [] } = comparison;
  const raw: Record<string, Figures[]> = {};
  const calibration: number[] = [];
  const names = Object.keys(candidates);
  for (let round = 0; round < rounds; round += 1) {
    calibration.push(calibrate());
    for (let index = 0; index < names.length; index += 1) {
      const candidate = names[(index + round) % names.length] ?? '';
      const measure = candidates[candidate];
      if (measure === undefined) continue;
      globalThis.gc?.();
      (raw[candidate] ??= []).push(await measure());
    }
  }
  const medians = Object.fromEntries(names.map((candidate) => [candidate, mediansOf(raw[candidate] ?? [])]));
  const verdicts = bars.map((bar) => judge(bar, medians, lowerIsBetter));
  print(name, medians, verdicts);
  const outcome: Outcome = { name, medians, verdicts };
  keep(name, { ...outcome, machine: machine(), calibrationMs: median(calibration), raw });
  return outcome;
}

/** Calls `operation` in batches for about `milliseconds`, and gives calls per second and CPU microseconds per call. */
export async function throughput(
  operation: () => unknown,
  options: { milliseconds?: number; batch?: number } = {},
): Promise<{ 'ops/s': number; 'ns/op': number; 'cpu µs/op': number }> {
  const { milliseconds = 400, batch = 1_000 } = options;
  const cpu = process.cpuUsage();
  const start = performance.now();
  let calls = 0;
  let elapsed = 0;
  while (elapsed < milliseconds) {
    for (let call = 0; call < batch; call += 1) {
      const result = operation();
      if (result instanceof Promise) await result;
    }
    calls += batch;
    elapsed = performance.now() - start;
  }
  const used = process.cpuUsage(cpu);
  return {
    'ops/s': (calls / elapsed) * 1_000,
    'ns/op': (elapsed / calls) * 1e6,
    'cpu µs/op': (used.user + used.system) / calls,
  };
}

/** The middle value. */
export function median(values: readonly number[]): number {
  return percentile(values, 0.5);
}

/** The value below which the share `q` of the values lies (nearest rank). */
export function percentile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN;
}

function mediansOf(rounds: readonly Figures[]): Figures {
  const figures = Object.keys(rounds[0] ?? {});
  return Object.fromEntries(
    figures.map((figure) => [figure, median(rounds.map((round) => round[figure] ?? Number.NaN))]),
  );
}

function judge(
  bar: Bar,
  medians: Readonly<Record<string, Figures>>,
  lowerIsBetter: readonly string[],
): Verdict {
  const of = bar.of ?? 'xiaoke';
  const own = medians[of]?.[bar.figure] ?? Number.NaN;
  const measured = bar.versus === undefined ? own : own / opponent(bar, of, medians, lowerIsBetter);
  const reached =
    (bar.atLeast === undefined || measured >= bar.atLeast) &&
    (bar.atMost === undefined || measured <= bar.atMost);
  return { ...bar, measured, reached: reached && !Number.isNaN(measured) };
}

function opponent(
  bar: Bar,
  of: string,
  medians: Readonly<Record<string, Figures>>,
  lowerIsBetter: readonly string[],
): number {
  if (bar.versus !== 'best peer') return medians[bar.versus ?? '']?.[bar.figure] ?? Number.NaN;
  const peers = Object.entries(medians).filter(([name]) => name !== of && !/^(xiaoke|bare )/.test(name));
  const figures = peers.flatMap(([, figuresOf]) => figuresOf[bar.figure] ?? []);
  return lowerIsBetter.includes(bar.figure) ? Math.min(...figures) : Math.max(...figures);
}

function print(name: string, medians: Readonly<Record<string, Figures>>, verdicts: readonly Verdict[]): void {
  console.log(`\n${name}`);
  console.table(
    Object.fromEntries(
      Object.entries(medians).map(([candidate, figures]) => [
        candidate,
        Object.fromEntries(Object.entries(figures).map(([figure, value]) => [figure, rounded(value)])),
      ]),
    ),
  );
  for (const verdict of verdicts) {
    const target = verdict.atLeast === undefined ? `<= ${verdict.atMost}` : `>= ${verdict.atLeast}`;
    const versus = verdict.versus === undefined ? '' : ` x ${verdict.versus}`;
    console.log(
      `${verdict.reached ? 'reached' : 'MISSED '}  ${verdict.of ?? 'xiaoke'} ${verdict.figure}: ${rounded(verdict.measured)}${versus} (bar ${target})`,
    );
  }
}

function rounded(value: number): number {
  return Number(value.toPrecision(4));
}

function keep(name: string, results: object): void {
  const file = new URL(`../results/${name}.json`, import.meta.url);
  mkdirSync(new URL('.', file), { recursive: true });
  writeFileSync(file, `${JSON.stringify(results, null, 2)}\n`);
  console.log(`raw figures: ${fileURLToPath(file).split('/apps/').at(-1) ?? ''}`);
}

function machine(): object {
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
    version: string;
  };
  return {
    node: process.version,
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    bench: version,
  };
}

/** A fixed loop of arithmetic, timed: tells how fast the machine was during this run, in milliseconds. */
function calibrate(): number {
  const start = performance.now();
  let x = 1;
  for (let i = 0; i < 20_000_000; i += 1) x = (Math.imul(x, 1_103_515_245) + 12_345) >>> 0;
  if (x === 0) throw new Error('the generator never reaches zero from here');
  return performance.now() - start;
}
