/** What 10,000 breakers that nobody calls cost: bytes and timers each, and what stays of them when they are dropped. */
import { createHook } from 'node:async_hooks';
import { circuitBreaker as cockatielBreaker, ConsecutiveBreaker, handleAll } from 'cockatiel';
import OpossumBreaker from 'opossum';
import { circuitBreaker } from '@xiaoke/resilience';
import { compare, type Figures } from '../harness.ts';

const COUNT = 10_000;
const { gc } = globalThis;
if (gc === undefined) throw new Error('run with --expose-gc');
const operation = async (): Promise<number> => 1;
// Also those that do not hold the process, which getActiveResourcesInfo() leaves out.
let timers = 0;
createHook({
  init(_id, type) {
    if (type === 'Timeout') timers += 1;
  },
}).enable();
// Out here, or it would be collected with what it watches and tell nothing.
let registry: FinalizationRegistry<undefined>;

function heap(): number {
  gc?.();
  gc?.();
  return process.memoryUsage().heapUsed;
}

/** Makes them, weighs them, and lets go of them. In a function of its own: a suspended one holds on to what it had in hand. */
function weigh(make: (index: number) => object, onDropped: () => void): Figures {
  const before = heap();
  const timersBefore = timers;
  const breakers = Array.from({ length: COUNT }, (_, index) => make(index));
  const bytes = (heap() - before) / COUNT;
  registry = new FinalizationRegistry(onDropped);
  for (const breaker of breakers) registry.register(breaker, undefined);
  return { 'bytes each': bytes, 'timers each': (timers - timersBefore) / COUNT };
}

async function idle(make: (index: number) => object): Promise<Figures> {
  let dropped = 0;
  const weight = weigh(make, () => (dropped += 1));
  for (let turn = 0; turn < 50 && dropped < COUNT; turn += 1) {
    await new Promise((resolve) => {
      setTimeout(resolve, 10);
    });
    gc?.();
  }
  return { ...weight, 'collected %': (dropped / COUNT) * 100 };
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
