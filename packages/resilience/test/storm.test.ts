import type { Clock, Random } from '@xiaoke/core';
import { describe, expect, test } from 'vitest';
import {
  adaptiveConcurrency,
  circuitBreaker,
  pipeline,
  retry,
  timeout,
  type Policy,
} from '@xiaoke/resilience';
import { SimClock } from './sim-clock.ts';
import { nightly, seeded } from './support.ts';

// 80 workers of 100 ms serve 640 calls a second (80 % load), clients give up after a second. For five seconds only 8 workers
// are left. The server knows nothing of its clients: it works off a queue, also for those that are long gone.
const WORKERS = 80;
const RATE = 640;
const WARM_UP = 10;
const TROUBLE = 5;
const AFTER = 36;

interface Outcome {
  /** Share of the offered calls that succeeded, by second. */
  readonly goodput: readonly number[];
  /** Requests sent per call offered, from the trouble to the end. */
  readonly amplification: number;
  /** Seconds from the end of the trouble until goodput is back at 0.95; Infinity if never. */
  readonly recovery: number;
}

async function storm(make: (clock: Clock, random: Random) => Policy, seed: number): Promise<Outcome> {
  const clock = new SimClock();
  const random = seeded(seed);
  const exponential = (mean: number): number => -Math.log(1 - random()) * mean;
  const inTrouble = (): boolean =>
    clock.monotonic() >= WARM_UP * 1_000 && clock.monotonic() < (WARM_UP + TROUBLE) * 1_000;
  let busy = 0;
  let sent = 0;
  let offered = 0;
  const queue: (() => void)[] = [];
  let head = 0;
  const work = (): void => {
    while (head < queue.length && busy < (inTrouble() ? WORKERS / 10 : WORKERS)) {
      const done = queue[head];
      head += 1;
      busy += 1;
      clock.setTimeout(() => {
        busy -= 1;
        done?.();
        work();
      }, exponential(100));
    }
  };
  const seconds = WARM_UP + TROUBLE + AFTER;
  const good = Array.from({ length: seconds + 1 }, () => 0);
  const policy = make(clock, random);
  const arrive = (): void => {
    if (clock.monotonic() >= WARM_UP * 1_000) offered += 1;
    const call = policy.execute(() => {
      if (clock.monotonic() >= WARM_UP * 1_000) sent += 1;
      return new Promise<void>((resolve) => {
        queue.push(resolve);
        work();
      });
    });
    void call.then(
      () =>
        (good[Math.floor(clock.monotonic() / 1_000)] =
          (good[Math.floor(clock.monotonic() / 1_000)] ?? 0) + 1),
      () => {},
    );
    clock.setTimeout(arrive, exponential(1_000 / RATE));
  };
  arrive();
  clock.setTimeout(work, (WARM_UP + TROUBLE) * 1_000);
  await clock.runUntil(seconds * 1_000);
  const goodput = good.map((count) => count / RATE);
  const back = (second: number): boolean => mean(goodput.slice(second, second + 3)) >= 0.95;
  const end = WARM_UP + TROUBLE;
  const recovered = Array.from({ length: AFTER - 3 }, (_, second) => second).find((second) =>
    back(end + second),
  );
  return { goodput, amplification: sent / offered, recovery: recovered ?? Infinity };
}

const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;
const late = ({ goodput }: Outcome): number =>
  mean(goodput.slice(WARM_UP + TROUBLE + 25, WARM_UP + TROUBLE + 35));
const seeds = nightly ? [1, 2, 3, 4, 5, 6, 7, 8] : [1];

describe.each(seeds)('a storm of retries (seed %d)', (seed) => {
  test('naive retries never recover, although the trouble is over: this is what has to be prevented', async () => {
    const naive = await storm(
      (clock, random) =>
        pipeline(
          retry({ attempts: 4, budget: false, jitter: 'none', clock, random }),
          timeout('1s', { clock }),
        ),
      seed,
    );
    expect(late(naive)).toBeLessThan(0.05);
    expect(naive.amplification).toBeGreaterThan(3);
  }, 60_000);

  test('jitter alone does not help', async () => {
    const jittered = await storm(
      (clock, random) =>
        pipeline(retry({ attempts: 4, budget: false, clock, random }), timeout('1s', { clock })),
      seed,
    );
    expect(late(jittered)).toBeLessThan(0.05);
  }, 60_000);

  test('the budget that is on by default lets the service recover, without a circuit', async () => {
    const budgeted = await storm(
      (clock, random) => pipeline(retry({ clock, random }), timeout('1s', { clock })),
      seed,
    );
    expect(late(budgeted)).toBeGreaterThanOrEqual(0.95);
    expect(budgeted.recovery).toBeLessThanOrEqual(20);
    expect(budgeted.amplification).toBeLessThanOrEqual(1.25);
  }, 60_000);

  test('the defaults of retry and circuit recover within 20 s at no more than 1.25 requests per call', async () => {
    const defaults = await storm(
      (clock, random) =>
        pipeline(retry({ clock, random }), circuitBreaker({ clock, random }), timeout('1s', { clock })),
      seed,
    );
    expect(defaults.recovery).toBeLessThanOrEqual(20);
    expect(late(defaults)).toBeGreaterThanOrEqual(0.95);
    expect(defaults.amplification).toBeLessThanOrEqual(1.25);
  }, 60_000);

  test('an adaptive limit recovers too, and does not collapse before there is any trouble', async () => {
    const adaptive = await storm(
      (clock, random) =>
        pipeline(
          retry({ clock, random }),
          adaptiveConcurrency({ initial: 80, max: 400, clock }),
          timeout('1s', { clock }),
        ),
      seed,
    );
    expect(mean(adaptive.goodput.slice(3, WARM_UP))).toBeGreaterThanOrEqual(0.95);
    expect(adaptive.recovery).toBeLessThanOrEqual(20);
    expect(late(adaptive)).toBeGreaterThanOrEqual(0.95);
  }, 60_000);
});
