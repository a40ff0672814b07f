import { FakeClock } from '@xiaoke/core/testing';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { circuitBreaker, type CircuitBreakerPolicy, type CircuitState } from '@xiaoke/resilience';
import { nightly, turn } from './support.ts';

type Ending = 'ok' | 'fail' | 'slow' | 'ignored' | 'abort';

const WINDOW = 1_000;
const BUCKET = WINDOW / 10;
const OPEN = 500;
const HALF_OPEN = 700;
const SLOW = 100;

interface Settings {
  readonly minimumCalls: number;
  readonly failureRate: number;
  readonly halfOpenCalls: number;
  readonly halfOpenConcurrency: number;
}

interface Running {
  readonly generation: number;
  readonly begun: number;
  readonly controller: AbortController;
  readonly settle: { resolve: (value: string) => void; reject: (error: unknown) => void };
  readonly done: Promise<void>;
}

/** What a circuit should do, written the plain way: a list of calls and no cleverness. */
class Model {
  state: CircuitState = 'closed';
  generation = 0;
  until = 0;
  calls: { readonly at: number; readonly failed: boolean; readonly slow: boolean }[] = [];
  probes = { issued: 0, running: 0, failed: 0, slow: 0, good: 0 };
  holds = 0;
  stale = 0;
  origin: number | undefined;
  settings: Settings;

  constructor(settings: Settings) {
    this.settings = settings;
  }

  passTime(now: number): void {
    if (this.state === 'open' && now >= this.until) {
      this.go('half-open');
      this.until = now + HALF_OPEN;
      this.probes = { issued: 0, running: 0, failed: 0, slow: 0, good: 0 };
    } else if (this.state === 'half-open' && now >= this.until) this.open(now);
  }

  admits(now: number): boolean {
    this.passTime(now);
    if (this.state === 'closed') return true;
    if (this.state !== 'half-open') return false;
    if (this.probes.issued >= this.settings.halfOpenCalls) return false;
    if (this.probes.running >= this.settings.halfOpenConcurrency) return false;
    this.probes.issued += 1;
    this.probes.running += 1;
    return true;
  }

  settle(running: Running, ending: Ending, now: number): void {
    if (running.generation !== this.generation) {
      this.stale += 1;
      return;
    }
    const failed = ending === 'fail';
    const slow = now - running.begun >= SLOW;
    if (this.state === 'half-open') this.settleProbe(ending, failed, slow, now);
    else if (ending !== 'ignored' && ending !== 'abort') {
      this.calls.push({ at: now, failed, slow });
      this.judge(now);
    }
  }

  settleProbe(ending: Ending, failed: boolean, slow: boolean, now: number): void {
    const { probes, settings } = this;
    probes.running -= 1;
    if (ending === 'ignored' || ending === 'abort') {
      probes.issued -= 1;
      return;
    }
    if (failed) probes.failed += 1;
    else probes.good += 1;
    if (slow) probes.slow += 1;
    const missing = settings.halfOpenCalls - probes.failed - probes.good;
    const bad = (count: number, rate: number): boolean => count / settings.halfOpenCalls >= rate - 1e-12;
    if (bad(probes.failed, settings.failureRate) || bad(probes.slow, 1)) this.open(now);
    else if (!bad(probes.failed + missing, settings.failureRate) && !bad(probes.slow + missing, 1))
      this.go('closed');
  }

  judge(now: number): void {
    const live = this.live(now);
    if (live.length < this.settings.minimumCalls) return;
    const failures = live.filter(({ failed }) => failed).length;
    const slow = live.filter(({ slow }) => slow).length;
    if (failures / live.length >= this.settings.failureRate || slow === live.length) this.open(now);
  }

  /** The window moves in steps, which begin with the first call that it saw. */
  live(now: number): readonly { readonly failed: boolean; readonly slow: boolean }[] {
    const bucketOf = (at: number): number => Math.floor(at / BUCKET);
    return this.calls.filter(({ at }) => bucketOf(now) - bucketOf(at) < 10);
  }

  open(now: number): void {
    this.go('open');
    this.until = now + OPEN;
  }

  go(state: CircuitState): void {
    this.state = state;
    this.generation += 1;
    this.calls = [];
  }
}

class World {
  readonly clock = new FakeClock();
  readonly breaker: CircuitBreakerPolicy;
  readonly model: Model;
  running: Running[] = [];
  holds: Disposable[] = [];
  log: CircuitState[] = [];

  constructor(settings: Settings) {
    this.model = new Model(settings);
    this.breaker = circuitBreaker({
      ...settings,
      window: WINDOW,
      openFor: OPEN,
      halfOpenTimeout: HALF_OPEN,
      slowCall: { after: SLOW, rate: 1 },
      ignoreIf: (error) => error === 'ignored',
      clock: this.clock,
    });
    this.breaker.on('transition', ({ to }) => this.log.push(to));
  }

  async start(): Promise<void> {
    const now = this.clock.monotonic();
    const expected = this.model.admits(now);
    const controller = new AbortController();
    let settle: Running['settle'] | undefined;
    const call = this.breaker.execute(
      () => new Promise<string>((resolve, reject) => (settle = { resolve, reject })),
      { signal: controller.signal },
    );
    const done = call.then(
      () => {},
      () => {},
    );
    await turn();
    expect(settle !== undefined).toBe(expected);
    if (settle === undefined) {
      const error = await call.catch((caught: unknown) => caught);
      const until =
        this.model.state === 'isolated' ? undefined : Math.max(1, Math.ceil(this.model.until - now));
      expect(error).toMatchObject({ retryAfterMs: until });
      return;
    }
    this.running.push({ generation: this.model.generation, begun: now, controller, settle, done });
  }

  async settle(index: number, ending: Ending): Promise<void> {
    const running = this.running[index % Math.max(1, this.running.length)];
    if (running === undefined) return;
    this.running = this.running.filter((other) => other !== running);
    if (ending === 'slow') await this.advance(SLOW);
    const now = this.clock.monotonic();
    this.model.settle(running, ending, now);
    if (ending === 'abort') running.controller.abort();
    else if (ending === 'ok' || ending === 'slow') running.settle.resolve('ok');
    else running.settle.reject(ending);
    await running.done;
  }

  async advance(milliseconds: number): Promise<void> {
    await this.clock.advance(milliseconds);
  }

  isolate(): void {
    this.model.holds += 1;
    if (this.model.holds === 1) this.model.go('isolated');
    this.holds.push(this.breaker.isolate());
  }

  release(): void {
    const hold = this.holds.pop();
    if (hold === undefined) return;
    hold[Symbol.dispose]();
    this.model.holds -= 1;
    if (this.model.holds === 0) this.model.go('closed');
  }

  check(): void {
    const now = this.clock.monotonic();
    this.model.passTime(now);
    const stats = this.breaker.stats();
    expect(stats.state).toBe(this.model.state);
    expect(stats.stale).toBe(this.model.stale);
    const live = this.model.live(now);
    const share = (count: number): number => (live.length === 0 ? 0 : count / live.length);
    expect(stats.window).toEqual({
      calls: live.length,
      failureRate: share(live.filter(({ failed }) => failed).length),
      slowRate: share(live.filter(({ slow }) => slow).length),
    });
    expect(this.clock.timers).toBe(0);
  }
}

type Command =
  | readonly ['start']
  | readonly ['settle', number, Ending]
  | readonly ['advance', number]
  | readonly ['isolate']
  | readonly ['release'];
const command: fc.Arbitrary<Command> = fc.oneof(
  { weight: 8, arbitrary: fc.constant<Command>(['start']) },
  {
    weight: 10,
    arbitrary: fc.tuple(
      fc.constant('settle' as const),
      fc.nat(30),
      fc.constantFrom<Ending>('ok', 'fail', 'fail', 'slow', 'ignored', 'abort'),
    ),
  },
  {
    weight: 4,
    arbitrary: fc.tuple(
      fc.constant('advance' as const),
      fc.constantFrom(1, 30, 99, 100, 250, 500, 700, 1_500),
    ),
  },
  { weight: 1, arbitrary: fc.constantFrom<Command>(['isolate'], ['release'], ['release']) },
);
const settings = fc.record<Settings>({
  minimumCalls: fc.integer({ min: 1, max: 6 }),
  failureRate: fc.constantFrom(0.1, 0.25, 0.5, 0.75, 1),
  halfOpenCalls: fc.integer({ min: 1, max: 5 }),
  halfOpenConcurrency: fc.integer({ min: 1, max: 5 }),
});

test('a circuit does what a plain model of it does, whatever happens in whatever order', async () => {
  await fc.assert(
    fc.asyncProperty(
      settings,
      fc.array(command, { minLength: 10, maxLength: 120 }),
      async (given, commands) => {
        const world = new World(given);
        for (const [name, ...args] of commands) {
          if (name === 'start') await world.start();
          else if (name === 'settle') await world.settle(args[0] as number, args[1] as Ending);
          else if (name === 'advance') await world.advance(args[0] as number);
          else if (name === 'isolate') world.isolate();
          else world.release();
          world.check();
        }
        // No state follows another in a way that a circuit cannot go.
        for (const [index, state] of world.log.entries()) expect(state).not.toBe(world.log[index - 1]);
      },
    ),
    { numRuns: nightly ? 3_000 : 150 },
  );
}, 120_000);
