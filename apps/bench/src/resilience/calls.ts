/**
 * What a call costs: through retry + breaker + timeout + bulkhead, with an operation that ignores its signal and one that uses
 * it, and through an open circuit. Nanoseconds per call, one call at a time.
 */
import {
  bulkhead as cockatielBulkhead,
  circuitBreaker as cockatielBreaker,
  handleAll,
  retry as cockatielRetry,
  SamplingBreaker,
  timeout as cockatielTimeout,
  TimeoutStrategy,
  ExponentialBackoff,
  wrap,
} from 'cockatiel';
import * as Mollitia from 'mollitia';
import OpossumBreaker from 'opossum';
import pRetry from 'p-retry';
import { bulkhead, circuitBreaker, pipeline, retry, timeout } from '@xiaoke/resilience';
import { compare, throughput, type Figures } from '../harness.ts';

const operation = async (): Promise<number> => 1;
// What a real client does with a signal: listen while it works, and stop listening.
const heeding = async ({ signal }: { readonly signal: AbortSignal }): Promise<number> => {
  const stop = (): void => {};
  signal.addEventListener('abort', stop);
  signal.removeEventListener('abort', stop);
  return 1;
};

const ours = pipeline(retry(), circuitBreaker(), timeout('10s'), bulkhead({ concurrency: 10 }));
const cockatiel = wrap(
  cockatielRetry(handleAll, { maxAttempts: 3, backoff: new ExponentialBackoff() }),
  cockatielBreaker(handleAll, {
    halfOpenAfter: 5_000,
    breaker: new SamplingBreaker({ threshold: 0.5, duration: 10_000, minimumRps: 2 }),
  }),
  cockatielTimeout(10_000, TimeoutStrategy.Aggressive),
  cockatielBulkhead(10),
);
const mollitia = new Mollitia.Circuit({
  options: {
    modules: [
      new Mollitia.Retry({ attempts: 2 }),
      new Mollitia.SlidingCountBreaker({ slidingWindowSize: 100, minimumNumberOfCalls: 20 }),
      new Mollitia.Timeout({ delay: 10_000 }),
      new Mollitia.Bulkhead({ concurrentSize: 10 }),
    ],
  },
});
const opossumBreaker = new OpossumBreaker(operation);
const opossumHeeding = new OpossumBreaker(async () => heeding({ signal: new AbortController().signal }));

const openOpossum = new OpossumBreaker(operation, { resetTimeout: 3_600_000 });
openOpossum.open();
const openOurs = circuitBreaker({ openFor: '1h' });
openOurs.open();
const openCockatiel = cockatielBreaker(handleAll, {
  halfOpenAfter: 3_600_000,
  breaker: new SamplingBreaker({ threshold: 0.5, duration: 10_000 }),
});
openCockatiel.isolate();
const ignore = (): void => {};

async function figures(
  plain: () => Promise<unknown>,
  signal?: () => Promise<unknown>,
  open?: () => Promise<unknown>,
): Promise<Figures> {
  const measured: Record<string, number> = {};
  const milliseconds = 250;
  measured['ns/call'] = (await throughput(plain, { milliseconds }))['ns/op'];
  if (signal)
    measured['ns/call with signal'] = (await throughput(signal, { milliseconds, batch: 200 }))['ns/op'];
  if (open) measured['ns/rejection'] = (await throughput(open, { milliseconds, batch: 200 }))['ns/op'];
  return measured;
}

await compare({
  name: 'resilience/calls',
  rounds: 7,
  lowerIsBetter: ['ns/call', 'ns/call with signal', 'ns/rejection'],
  candidates: {
    xiaoke: () =>
      figures(
        () => ours.execute(operation),
        () => ours.execute(heeding),
        () => openOurs.execute(operation).catch(ignore),
      ),
    cockatiel: () =>
      figures(
        () => cockatiel.execute(operation),
        () => cockatiel.execute(heeding),
        () => openCockatiel.execute(operation).catch(ignore),
      ),
    'opossum alone, defaults': () =>
      figures(
        () => opossumBreaker.fire(),
        () => opossumHeeding.fire(),
        () => openOpossum.fire().catch(ignore),
      ),
    'p-retry around opossum': () => figures(() => pRetry(() => opossumBreaker.fire(), { retries: 2 })),
    mollitia: () => figures(() => mollitia.fn(operation).execute<Promise<unknown>>()),
    'no policy': () => figures(operation, () => heeding({ signal: new AbortController().signal })),
  },
  bars: [
    { figure: 'ns/call', atMost: 1_000 },
    { figure: 'ns/call', of: 'cockatiel', versus: 'xiaoke', atLeast: 10 },
    { figure: 'ns/call', of: 'opossum alone, defaults', versus: 'xiaoke', atLeast: 2 },
    { figure: 'ns/call with signal', of: 'cockatiel', versus: 'xiaoke', atLeast: 2.5 },
    { figure: 'ns/rejection', of: 'opossum alone, defaults', versus: 'xiaoke', atLeast: 2 },
  ],
});
process.exit();
