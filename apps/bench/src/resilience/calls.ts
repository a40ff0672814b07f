/**
 * What a call costs: through retry + breaker + timeout + bulkhead, with an operation that ignores its signal and one that uses
 * it, and through an open circuit. One call at a time; nanoseconds of CPU, which neighbours on the machine disturb least.
 *
 * The event loop turns every thousand calls, as it does in a server, so that those who keep statistics by timers pay for them;
 * and each measurement begins with breakers of its own and ends them, so that nobody's timers run in the time of others.
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
import { compare, type Figures } from '../harness.ts';

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
const openOurs = circuitBreaker({ openFor: '1h' });
openOurs.open();
const openCockatiel = cockatielBreaker(handleAll, {
  halfOpenAfter: 3_600_000,
  breaker: new SamplingBreaker({ threshold: 0.5, duration: 10_000 }),
});
openCockatiel.isolate();
const ignore = (): void => {};
const heedingAlone = async (): Promise<number> => heeding({ signal: new AbortController().signal });

async function serve(call: () => unknown, milliseconds: number): Promise<number> {
  const start = performance.now();
  let calls = 0;
  while (performance.now() - start < milliseconds) {
    for (let batch = 0; batch < 1_000; batch += 1) await call();
    calls += 1_000;
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
  }
  return calls;
}

async function nsPerCall(call: () => unknown, milliseconds: number): Promise<number> {
  // V8 forgets what it compiled when the harness asks for collections; compiling it again is not measured.
  await serve(call, 200);
  const cpu = process.cpuUsage();
  const calls = await serve(call, milliseconds);
  const { user, system } = process.cpuUsage(cpu);
  return ((user + system) / calls) * 1e3;
}

async function figures(plain: () => unknown, signal?: () => unknown, open?: () => unknown): Promise<Figures> {
  const measured: Record<string, number> = {};
  measured['ns/call'] = await nsPerCall(plain, 1_500);
  if (signal) measured['ns/call with signal'] = await nsPerCall(signal, 600);
  if (open) measured['ns/rejection'] = await nsPerCall(open, 300);
  return measured;
}

async function opossum(options: OpossumBreaker.Options): Promise<Figures> {
  const [plain, signalled] = [
    new OpossumBreaker(operation, options),
    new OpossumBreaker(heedingAlone, options),
  ];
  const open = new OpossumBreaker(operation, { ...options, resetTimeout: 3_600_000 });
  open.open();
  const measured = await figures(
    () => plain.fire(),
    () => signalled.fire(),
    () => open.fire().catch(ignore),
  );
  for (const breaker of [plain, signalled, open]) breaker.shutdown();
  return measured;
}

async function pRetryAroundOpossum(): Promise<Figures> {
  const breaker = new OpossumBreaker(operation);
  const measured = await figures(() => pRetry(() => breaker.fire(), { retries: 2 }));
  breaker.shutdown();
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
    'opossum alone, defaults': () => opossum({}),
    'opossum alone, no statistics': () =>
      opossum({ rollingPercentilesEnabled: false, enableSnapshots: false }),
    'p-retry around opossum': pRetryAroundOpossum,
    mollitia: () => figures(() => mollitia.fn(operation).execute<Promise<unknown>>()),
    'no policy': () => figures(operation, heedingAlone),
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
