/** How others choose, after their published descriptions: only the choice, without what surrounds it. */
import type { RoutingScenario, SimulatedWorld } from '@xiaoke/health/testing';

interface NodeState {
  readonly index: number;
  inflight: number;
  /** Latency, in milliseconds. */
  lag: number;
  /** From 0 to 1. */
  success: number;
  seenAt: number;
  pickedAt: number;
}

type Choose = (nodes: readonly NodeState[], world: SimulatedWorld) => NodeState;
type Learn = (node: NodeState, call: { now: number; ms: number; ok: boolean }) => void;

function router(choose: Choose, learn: Learn): RoutingScenario['router'] {
  return (world) => {
    const nodes = Array.from({ length: world.nodes }, (_, index): NodeState => ({
      index,
      inflight: 0,
      lag: 0,
      success: 1,
      seenAt: 0,
      pickedAt: 0,
    }));
    return {
      route: () => {
        const node = choose(nodes, world);
        const start = world.clock.monotonic();
        node.inflight += 1;
        return {
          node: node.index,
          end: (ok) => {
            node.inflight -= 1;
            const now = world.clock.monotonic();
            learn(node, { now, ms: now - start, ok });
            node.seenAt = now;
          },
        };
      },
    };
  };
}

function two(nodes: readonly NodeState[], { random }: SimulatedWorld): [NodeState, NodeState] {
  const first = Math.floor(random() * nodes.length);
  const second = (first + 1 + Math.floor(random() * (nodes.length - 1))) % nodes.length;
  const [fallback] = nodes;
  const a = nodes[first] ?? fallback;
  const b = nodes[second] ?? fallback;
  if (a === undefined || b === undefined) throw new Error('there are no nodes');
  return [a, b];
}

/** An average that forgets by time. */
function averaging(tauMs: number): Learn {
  return (node, { now, ms, ok }) => {
    const left = node.lag === 0 ? 0 : Math.exp(-(now - node.seenAt) / tauMs);
    node.lag = node.lag * left + ms * (1 - left);
    node.success = node.success * left + (ok ? 1 : 0) * (1 - left);
  };
}

const PEAK_TAU = 10_000;

/** Finagle: the better of two by peak-sensitive latency and load. Errors are no matter. */
export const finagle: RoutingScenario['router'] = router(
  (nodes, world) => {
    const now = world.clock.monotonic();
    const cost = ({ lag, seenAt, inflight }: NodeState): number => {
      const decayed = lag * Math.exp(-(now - seenAt) / PEAK_TAU);
      return decayed === 0 && inflight > 0 ? 1e9 + inflight : decayed * (inflight + 1);
    };
    const [a, b] = two(nodes, world);
    return cost(a) <= cost(b) ? a : b;
  },
  (node, { now, ms }) => {
    const left = Math.exp(-(now - node.seenAt) / PEAK_TAU);
    node.lag = ms > node.lag * left ? ms : node.lag * left + ms * (1 - left);
  },
);

/** go-zero: the better of two by latency and load, after up to three draws for two that mostly succeed. */
export const goZero: RoutingScenario['router'] = router((nodes, world) => {
  const now = world.clock.monotonic();
  let pair = two(nodes, world);
  for (let draw = 0; draw < 2 && !pair.every(({ success }) => success > 0.5); draw += 1)
    pair = two(nodes, world);
  const load = ({ lag, inflight }: NodeState): number => Math.sqrt(lag + 1e-6) * (inflight + 1);
  const [better, worse] = load(pair[0]) <= load(pair[1]) ? pair : [pair[1], pair[0]];
  const chosen = now - worse.pickedAt > 1_000 ? worse : better;
  chosen.pickedAt = now;
  return chosen;
}, averaging(10_000));

/** Kratos: the better of two by success, latency and load; who was not chosen for three seconds is. */
export const kratos: RoutingScenario['router'] = router((nodes, world) => {
  const now = world.clock.monotonic();
  const weight = ({ success, lag, inflight }: NodeState): number =>
    success / (Math.sqrt(lag + 5) * (inflight + 1));
  const pair = two(nodes, world);
  const [better, worse] = weight(pair[0]) >= weight(pair[1]) ? pair : [pair[1], pair[0]];
  const chosen = now - worse.pickedAt > 3_000 ? worse : better;
  chosen.pickedAt = now;
  return chosen;
}, averaging(600));
