/**
 * Hit ratios of every strategy on repeatable workloads, against reference figures measured once with independent
 * implementations of the same policies. One round: nothing here depends on the machine. w-tinylfu draws lots, so the worst of
 * five draws counts.
 */
import {
  hitRatio,
  loopWorkload,
  oneHitWorkload,
  recencyWorkload,
  scanWorkload,
  seeded,
  shiftingWorkload,
  zipfWorkload,
} from '@xiaoke/cache/testing';
import { compare, type Bar, type Figures } from '../harness.ts';

const strategies = ['fifo', 'lru', 'lfu', 'sieve', 's3fifo', 'w-tinylfu'] as const;

// Per strategy, in the order above.
const reference: readonly (readonly [string, () => Int32Array, number, readonly number[]])[] = [
  ['zipf 0.8 / 1000', zipfWorkload(0.8).requests, 1_000, [17.95, 20.45, 30.32, 30.76, 31.53, 30]],
  ['zipf 1 / 1000', zipfWorkload(1).requests, 1_000, [46.52, 50.64, 59.23, 59.61, 59.87, 59.22]],
  ['zipf 1 / 10000', zipfWorkload(1).requests, 10_000, [70.01, 73.57, 77.6, 77.6, 77.8, 78.29]],
  ['zipf 1.2 / 1000', zipfWorkload(1.2).requests, 1_000, [76.29, 79.55, 83.93, 84.06, 83.96, 83.85]],
  ['zipf 1, scans / 1000', scanWorkload().requests, 1_000, [32.44, 35.31, 41.4, 41.58, 41.81, 39.11]],
  ['loop 11000 / 10000', loopWorkload().requests, 10_000, [0, 0, 0, 0, 79.87, 85.35]],
  ['shifting / 1000', shiftingWorkload().requests, 1_000, [46.36, 50.37, 19.16, 49.8, 55.72, 53.18]],
  ['shifting / 10000', shiftingWorkload().requests, 10_000, [68.15, 70.16, 36.52, 60.15, 65.33, 59.49]],
  ['one-hit / 1000', oneHitWorkload().requests, 1_000, [18.66, 21.14, 30.61, 30.64, 31.59, 30.49]],
  ['recency / 1000', recencyWorkload().requests, 1_000, [35.67, 39.05, 3.4, 30.87, 45.68, 42.37]],
];

function worst(strategy: (typeof strategies)[number], size: number, requests: Int32Array): number {
  const seeds = strategy === 'w-tinylfu' ? [1, 2, 3, 4, 5] : [1];
  return Math.min(...seeds.map((seed) => hitRatio(strategy, size, requests, seeded(seed))));
}

const candidates = Object.fromEntries(
  strategies.map((strategy) => [
    strategy,
    (): Figures =>
      Object.fromEntries(
        reference.map(([name, requests, size]) => [name, worst(strategy, size, requests())]),
      ),
  ]),
);

const bars: Bar[] = strategies.flatMap((of, i) =>
  reference.map(([figure, , , figures]) => ({ figure, of, atLeast: (figures[i] ?? 0) - 0.5 })),
);

await compare({ name: 'cache/hit-ratio', candidates, rounds: 1, bars });
