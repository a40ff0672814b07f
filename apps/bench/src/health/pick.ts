/** What it costs to choose one of a hundred instances and to say how the call went. */
import { createBalancer, type BalancerPolicy } from '@xiaoke/health/discovery';
import { compare, throughput, type Figures } from '../harness.ts';

const INSTANCES = 100;

function picking(policy: BalancerPolicy): () => Promise<Figures> {
  const list = Array.from({ length: INSTANCES }, (_, index) => ({
    id: `i${index}`,
    url: `http://10.0.0.${index}:80`,
  }));
  const balancer = createBalancer(list, { policy });
  return async () => {
    const { 'ns/op': nanoseconds } = await throughput(() => balancer.pick().ok());
    return { 'µs/pick+release': nanoseconds / 1_000 };
  };
}

await compare({
  name: 'health/pick',
  rounds: 9,
  candidates: {
    xiaoke: picking('p2c-ewma'),
    'xiaoke least-request': picking('least-request'),
    'xiaoke random': picking('random'),
    'xiaoke round-robin': picking('round-robin'),
  },
  lowerIsBetter: ['µs/pick+release'],
  bars: [{ figure: 'µs/pick+release', atMost: 0.6 }],
});
