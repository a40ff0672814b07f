/** How each policy spreads 1,000 requests a second over nodes that fail, slow down and recover; simulated, with fixed seeds. */
import {
  balancerRouter,
  simulateRouting,
  type NodeModel,
  type RoutingScenario,
} from '@xiaoke/health/testing';
import { compare, median, type Figures } from '../harness.ts';
import { finagle, goZero, kratos } from './support/peer-routers.ts';

const SEEDS = [1, 2, 3, 4, 5, 6, 7];
const well: NodeModel = (_at, random, inflight) => ({
  ms: (15 + random() * 10) * (1 + Math.max(0, inflight - 20) * 0.05),
  ok: true,
});
const failsFast: NodeModel = () => ({ ms: 0.2, ok: false });
const slow: NodeModel = (_at, random) => ({ ms: 150 + random() * 100, ok: true });
const flaky: NodeModel = (_at, random) => ({ ms: 15 + random() * 10, ok: random() >= 0.3 });
const until10s =
  (before: NodeModel): NodeModel =>
  (at, random, inflight) =>
    (at < 10_000 ? before : well)(at, random, inflight);

/** A node that never gets its share back within the half minute counts as this. */
const NEVER = 20;

function run(router: RoutingScenario['router'], nodes: readonly NodeModel[], seed: number) {
  const comeback = { node: nodes.length - 1, afterMs: 10_000, share: 0.2 };
  return simulateRouting({ nodes, seed, router, comeback, requestsPerSecond: 1_000, seconds: 30 });
}

function measure(router: RoutingScenario['router']): Figures {
  const over = (nodes: readonly NodeModel[], figure: (result: ReturnType<typeof run>) => number): number =>
    median(SEEDS.map((seed) => figure(run(router, nodes, seed))));
  const back = (before: NodeModel): number =>
    over([well, well, well, until10s(before)], ({ comebackMs = NEVER * 1_000 }) => comebackMs / 1_000);
  return {
    'fail-fast: errors %': over([well, well, well, failsFast], ({ errorRate }) => errorRate * 100),
    'of two: errors %': over([well, failsFast], ({ errorRate }) => errorRate * 100),
    'flaky: errors %': over([well, well, well, flaky], ({ errorRate }) => errorRate * 100),
    'slow: p99 ms': over([well, well, well, slow], ({ p99Ms }) => p99Ms),
    'all well: p99 ms': over([well, well, well, well], ({ p99Ms }) => p99Ms),
    'failed is back s': back(failsFast),
    'slow is back s': back(slow),
  };
}

await compare({
  name: 'health/routing',
  // Simulated time: a second round would give the very same figures.
  rounds: 1,
  candidates: {
    xiaoke: () => measure(balancerRouter()),
    'xiaoke least-request': () => measure(balancerRouter({ policy: 'least-request' })),
    'xiaoke round-robin': () => measure(balancerRouter({ policy: 'round-robin' })),
    'xiaoke random': () => measure(balancerRouter({ policy: 'random' })),
    'round-robin, bare': () => measure(balancerRouter({ policy: 'round-robin', outlier: false })),
    'least-request, bare': () => measure(balancerRouter({ policy: 'least-request', outlier: false })),
    'Finagle Peak EWMA': () => measure(finagle),
    'go-zero p2c': () => measure(goZero),
    'Kratos p2c': () => measure(kratos),
  },
  bars: [
    { figure: 'fail-fast: errors %', atMost: 0.1 },
    { figure: 'of two: errors %', atMost: 0.1 },
    { figure: 'slow: p99 ms', atMost: 26 },
    { figure: 'failed is back s', atMost: 9 },
    { figure: 'slow is back s', atMost: 9 },
    { figure: 'failed is back s', versus: 'Kratos p2c', atMost: 1 },
    { figure: 'failed is back s', atMost: 3 },
  ],
});
