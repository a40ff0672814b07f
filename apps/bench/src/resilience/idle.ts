/** What 10,000 breakers that nobody calls cost: bytes and timers each, and what stays of them when they are dropped. */
import { circuitBreaker as cockatielBreaker, ConsecutiveBreaker, handleAll } from 'cockatiel';
import OpossumBreaker from 'opossum';
import { circuitBreaker } from '@xiaoke/resilience';
import { compare, type Figures } from '../harness.ts';

const COUNT = 10_000;
const { gc } = globalThis;
if (gc === undefined) throw new Error('run with --expose-gc');
const operation = async (): Promise<number> => 1;

function heap(): number {
  gc?.();
  gc?.();
  return process.memoryUsage().heapUsed;
}

function timers(): number {
  return process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length;
}

async function idle(make: (index: number) => object): Promise<Figures> {
  const before = heap();
  const timersBefore = timers();
  let dropped = 0;
  const registry = new FinalizationRegistry(() => (dropped += 1));
  let kept: object[] | undefined = Array.from({ length: COUNT }, (_, index) => make(index));
  const bytes = (heap() - before) / COUNT;
  const timersEach = (timers() - timersBefore) / COUNT;
  for (const breaker of kept) registry.register(breaker, undefined);
  kept = undefined;
  for (let turn = 0; turn < 20 && dropped < COUNT; turn += 1) {
    gc?.();
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return { 'bytes each': bytes, 'timers each': timersEach, 'collected %': (dropped / COUNT) * 100 };
}

await compare({
  name: 'resilience/idle',
  rounds: 3,
  lowerIsBetter: ['bytes each', 'timers each'],
  candidates: {
    xiaoke: () => idle((index) => circuitBreaker({ name: `breaker-${index}` })),
    cockatiel: () =>
      idle(() => cockatielBreaker(handleAll, { halfOpenAfter: 5_000, breaker: new ConsecutiveBreaker(5) })),
    'opossum, defaults': () => idle((index) => new OpossumBreaker(operation, { name: `breaker-${index}` })),
  },
  bars: [
    { figure: 'bytes each', atMost: 2_048 },
    { figure: 'timers each', atMost: 0 },
    { figure: 'collected %', atLeast: 99.9 },
  ],
});
process.exit();
