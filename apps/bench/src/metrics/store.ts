/**
 * What a sample costs in the store's files, by kind of series: everything is appended as it would be sampled, the store is
 * closed, and the files are measured. The bar is about the series of whole numbers; the others are shown.
 */
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createTimeSeriesStore, fileStorage } from '@xiaoke/metrics/store';
import { compare, type Figures } from '../harness.ts';

const STEP = 10_000;
const SAMPLES = 120 * 20;
const COPIES = 20;

type Make = (random: () => number) => (i: number) => number;
type Kind = 'counter' | 'gauge';

const WHOLE: Readonly<Record<string, readonly [Kind, Make]>> = {
  'idle counter': ['counter', () => () => 1_234],
  'busy counter': ['counter', (random) => sumOf(() => Math.floor(400 + random() * 40))],
  'slow counter': ['counter', (random) => sumOf(() => Number(random() < 0.1))],
  'queue depth': ['gauge', (random) => walk(random, 20, 4, 0)],
  constant: ['gauge', () => () => 1],
  'heap bytes': ['gauge', (random) => walk(random, 50_000_000, 400_000, 20_000_000)],
};

const OTHERS: Readonly<Record<string, readonly [Kind, Make]>> = {
  'p99 rounded to 1 µs': ['gauge', (random) => () => Math.round((0.05 + random() * 0.01) * 1e6) / 1e6],
  'ratio of 3 digits': ['gauge', (random) => () => Math.round((0.9 + random() * 0.05) * 1_000) / 1_000],
  'sum of seconds in µs': [
    'counter',
    (random) => {
      const next = sumOf(() => Math.round(random() * 1e6));
      return (i) => next(i) / 1e6;
    },
  ],
  'any float': ['gauge', (random) => () => random()],
};

function sumOf(step: () => number): (i: number) => number {
  let total = 0;
  return () => (total += step());
}

function walk(random: () => number, start: number, size: number, least: number): (i: number) => number {
  let value = start;
  return () => (value = Math.max(least, Math.round(value + (random() - 0.5) * 2 * size)));
}

async function bytesPerSample(kind: Kind, make: Make): Promise<number> {
  const directory = mkdtempSync(join(tmpdir(), 'bench-store-'));
  const tiers = [{ step: STEP, keep: '30d' }];
  const store = createTimeSeriesStore({ tiers, storage: fileStorage(directory) });
  let seed = 7;
  const random = (): number => {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
    return seed / 2 ** 32;
  };
  const series = Array.from({ length: COPIES }, (_, n) => ({
    labels: { __name__: 'series', service: 'medical', n: String(n) },
    next: make(random),
  }));
  const end = Math.floor(Date.now() / STEP) * STEP;
  for (let i = 0; i < SAMPLES; i++) {
    const samples = series.map(({ labels, next }) => ({ labels, kind, value: next(i) }));
    await store.append(end - (SAMPLES - i) * STEP, samples);
  }
  await store.flush();
  await store.close();
  const files = readdirSync(directory, { recursive: true, encoding: 'utf8' }).map((file) =>
    statSync(join(directory, file)),
  );
  const bytes = files.reduce((sum, file) => sum + (file.isFile() ? file.size : 0), 0);
  rmSync(directory, { recursive: true });
  return bytes / (SAMPLES * COPIES);
}

async function measure(): Promise<Figures> {
  const figures: Record<string, number> = {};
  let sum = 0;
  for (const [name, [kind, make]] of Object.entries(WHOLE)) {
    figures[name] = await bytesPerSample(kind, make);
    sum += figures[name];
  }
  for (const [name, [kind, make]] of Object.entries(OTHERS)) figures[name] = await bytesPerSample(kind, make);
  return { 'bytes/sample (whole numbers)': sum / Object.keys(WHOLE).length, ...figures };
}

await compare({
  name: 'metrics/store',
  rounds: 1,
  candidates: { xiaoke: measure },
  lowerIsBetter: ['bytes/sample (whole numbers)'],
  bars: [{ figure: 'bytes/sample (whole numbers)', atMost: 3 }],
});
