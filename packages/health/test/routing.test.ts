import { expect, test } from 'vitest';
import {
  balancerRouter,
  simulateRouting,
  type NodeModel,
  type RoutingResult,
  type RoutingScenario,
} from '@xiaoke/health/testing';

const SEEDS = [7, 8, 9];
const well: NodeModel = (_at, random, inflight) => ({
  ms: (15 + random() * 10) * (1 + Math.max(0, inflight - 20) * 0.05),
  ok: true,
});
const failsFast: NodeModel = () => ({ ms: 0.2, ok: false });
const slow: NodeModel = (_at, random) => ({ ms: 150 + random() * 100, ok: true });
const flaky: NodeModel = (_at, random) => ({ ms: 15 + random() * 10, ok: random() >= 0.3 });
const recovers =
  (before: NodeModel): NodeModel =>
  (at, random, inflight) =>
    (at < 10_000 ? before : well)(at, random, inflight);

function simulate(
  nodes: readonly NodeModel[],
  seed: number,
  router: RoutingScenario['router'] = balancerRouter(),
): RoutingResult {
  const comeback = { node: nodes.length - 1, afterMs: 10_000, share: 0.2 };
  return simulateRouting({ nodes, seed, router, comeback, requestsPerSecond: 1_000, seconds: 30 });
}

test.each(SEEDS)('a node that fails fast gets at most 0.1 % of the requests (seed %i)', (seed) => {
  expect(simulate([well, well, well, failsFast], seed).errorRate).toBeLessThanOrEqual(0.001);
  expect(simulate([well, failsFast], seed).errorRate).toBeLessThanOrEqual(0.001);
});

test.each(SEEDS)('a node that is ten times slower leaves the 99th percentile as it is (seed %i)', (seed) => {
  const healthy = simulate([well, well, well, well], seed).p99Ms;
  const { p99Ms, shares } = simulate([well, well, well, slow], seed);
  expect(p99Ms / healthy).toBeLessThan(1.05);
  expect(shares[3]).toBeLessThan(0.02);
});

test.each(SEEDS)(
  'two slow nodes of four, which are often drawn together, get little all the same (seed %i)',
  (seed) => {
    const { shares } = simulate([well, well, slow, slow], seed);
    expect((shares[2] ?? 1) + (shares[3] ?? 1)).toBeLessThan(0.02);
  },
);

test.each(SEEDS)('a node that recovers is back at a fifth of the traffic within 3 s (seed %i)', (seed) => {
  for (const before of [failsFast, slow])
    expect(simulate([well, well, well, recovers(before)], seed).comebackMs).toBeLessThan(3_000);
});

test.each(SEEDS)(
  'a node that fails three of ten gives less than two errors in a thousand (seed %i)',
  (seed) => {
    expect(simulate([well, well, well, flaky], seed).errorRate).toBeLessThan(0.002);
  },
);

test.each(SEEDS)(
  'a caller that stands still itself does not take a slow node for a good one (seed %i)',
  (seed) => {
    const nodes = [well, well, well, slow];
    for (const [everyMs, lastMs] of [
      [1_000, 250],
      [300, 150],
      [200, 50],
    ] as const) {
      const stalls = { everyMs, lastMs };
      const result = simulateRouting({
        nodes,
        seed,
        stalls,
        router: balancerRouter(),
        requestsPerSecond: 200,
        seconds: 30,
      });
      expect(result.shares[3]).toBeLessThan(0.015);
    }
  },
);

test.each(SEEDS)('an answer in a hundred that is late is soon lived down (seed %i)', (seed) => {
  const tailed: NodeModel = (_at, random) => ({
    ms: (15 + random() * 10) * (random() < 0.01 ? 5 + random() * 10 : 1),
    ok: true,
  });
  expect(simulate([tailed, tailed, tailed, slow], seed).shares[3]).toBeLessThan(0.02);
});

test('the simulation sees the black hole where there is one: latency or load alone go to whoever fails fastest', () => {
  const bare = { outlier: false } as const;
  const byLoad = balancerRouter({ policy: 'least-request', ...bare });
  const inTurn = balancerRouter({ policy: 'round-robin', ...bare });
  expect(simulate([well, well, well, failsFast], 7, byLoad).errorRate).toBeGreaterThan(0.4);
  expect(simulate([well, well, well, failsFast], 7, inTurn).errorRate).toBeCloseTo(0.25, 1);
});

test('the same seed gives the same result', () => {
  expect(simulate([well, slow], 3)).toEqual(simulate([well, slow], 3));
});
