/**
 * What a breaker costs a service that works: 5,000 calls a second of which 5 % fail, share of one CPU. Every candidate has
 * served before it is measured, as in a service that has run for a while; compiling is no cost of a breaker.
 */
import { circuitBreaker as cockatielBreaker, handleAll, SamplingBreaker } from 'cockatiel';
import OpossumBreaker from 'opossum';
import { circuitBreaker } from '@xiaoke/resilience';
import { compare, percentile, type Figures } from '../harness.ts';

const RATE = 5_000;
const SECONDS = 4;
let count = 0;
const operation = async (): Promise<number> => {
  count += 1;
  await Promise.resolve();
  if (count % 20 === 0) throw new Error('one of twenty');
  return 1;
};

async function paced(call: () => Promise<unknown>): Promise<Figures> {
  const latencies: number[] = [];
  let [begun, ended] = [0, 0];
  const cpu = process.cpuUsage();
  const start = performance.now();
  const finish = (at: number): void => {
    ended += 1;
    latencies.push(performance.now() - at);
  };
  await new Promise<void>((resolve) => {
    const tick = setInterval(() => {
      const elapsed = performance.now() - start;
      if (elapsed >= SECONDS * 1_000) {
        clearInterval(tick);
        return resolve();
      }
      for (const due = Math.floor((elapsed * RATE) / 1_000); begun < due; begun += 1) {
        const at = performance.now();
        call().then(
          () => finish(at),
          () => finish(at),
        );
      }
    }, 2);
  });
  const used = process.cpuUsage(cpu);
  const seconds = (performance.now() - start) / 1_000;
  return {
    'cpu %': (used.user + used.system) / 1e4 / seconds,
    'calls/s': ended / seconds,
    'p99 ms': percentile(latencies, 0.99),
  };
}

const ours = circuitBreaker();
const opossum = new OpossumBreaker(operation, { volumeThreshold: 20 });
const cockatiel = cockatielBreaker(handleAll, {
  halfOpenAfter: 5_000,
  breaker: new SamplingBreaker({ threshold: 0.5, duration: 10_000 }),
});

const candidates = {
  'no breaker': () => operation(),
  xiaoke: () => ours.execute(operation),
  cockatiel: () => cockatiel.execute(operation),
  'opossum, defaults': () => opossum.fire(),
};
const ignore = (): void => {};
for (const call of Object.values(candidates))
  for (let warming = 0; warming < 20_000; warming += 1) await call().catch(ignore);

await compare({
  name: 'resilience/paced',
  rounds: 7,
  lowerIsBetter: ['cpu %', 'p99 ms'],
  candidates: Object.fromEntries(Object.entries(candidates).map(([name, call]) => [name, () => paced(call)])),
  bars: [{ figure: 'cpu %', versus: 'no breaker', atMost: 1.5 }],
});
process.exit();
