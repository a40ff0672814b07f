/**
 * What a breaker costs a service that works: 5,000 calls a second of which 5 % fail, share of one CPU. Every candidate serves
 * at full speed before each measurement, as in a service that has run for a while: V8 forgets what it compiled when the
 * harness asks for collections, and compiling is no cost of a breaker.
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
  const number = count;
  await Promise.resolve();
  if (number % 20 === 0) throw new Error('one of twenty');
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
const cockatiel = cockatielBreaker(handleAll, {
  halfOpenAfter: 5_000,
  breaker: new SamplingBreaker({ threshold: 0.5, duration: 10_000 }),
});

type Measure = (call: () => Promise<unknown>) => Promise<Figures>;
// opossum is made anew each time and ended: its timers, which sort what it has seen, must not run in the time of others.
async function withOpossum(measure: Measure): Promise<Figures> {
  const breaker = new OpossumBreaker(operation, { volumeThreshold: 20 });
  const figures = await measure(() => breaker.fire());
  breaker.shutdown();
  return figures;
}
const candidates: Readonly<Record<string, (measure: Measure) => Promise<Figures>>> = {
  'no breaker': (measure) => measure(() => operation()),
  xiaoke: (measure) => measure(() => ours.execute(operation)),
  cockatiel: (measure) => measure(() => cockatiel.execute(operation)),
  'opossum, defaults': withOpossum,
};
const ignore = (): void => {};
async function serve(call: () => Promise<unknown>): Promise<Figures> {
  const start = performance.now();
  while (performance.now() - start < 1_000) {
    for (let batch = 0; batch < 10; batch += 1)
      await Promise.all(Array.from({ length: 10 }, () => call().catch(ignore)));
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
  }
  return {};
}
await compare({
  name: 'resilience/paced',
  rounds: 7,
  lowerIsBetter: ['cpu %', 'p99 ms'],
  candidates: Object.fromEntries(
    Object.entries(candidates).map(([name, candidate]) => [
      name,
      async (): Promise<Figures> => {
        await candidate(serve);
        return await candidate(paced);
      },
    ]),
  ),
  bars: [{ figure: 'cpu %', versus: 'no breaker', atMost: 1.5 }],
});
process.exit();
