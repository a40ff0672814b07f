import { FakeClock, recordingLogger, recordingMetrics } from '@xiaoke/core/testing';
import { describe, expect, test } from 'vitest';
import {
  createResilienceManager,
  getResilienceManager,
  pipeline,
  protectedBy,
  retryable,
  timeout,
  type PolicyDefinition,
} from '@xiaoke/resilience';
import { deferred, errorOf, seeded, turn } from './support.ts';

const down = (): Promise<never> => Promise.reject(new Error('down'));

describe('named policies', () => {
  test('a definition becomes a pipeline in the recommended order', async () => {
    const manager = createResilienceManager();
    const policy = manager.policy('all', {
      timeout: '1s',
      bulkhead: { concurrency: 5 },
      circuitBreaker: {},
      hedge: { after: '500ms' },
      retry: { attempts: 2 },
      rateLimit: { limit: 100 },
      totalTimeout: '5s',
    });
    expect(await policy.execute(async () => 'ok')).toBe('ok');
    const { policies } = manager.stats().policies['all'] ?? {};
    expect(policies?.map(({ kind }) => kind)).toEqual([
      'timeout',
      'rateLimit',
      'retry',
      'hedge',
      'circuitBreaker',
      'bulkhead',
      'timeout',
    ]);
    expect(manager.get('all')).toBe(policy);
    expect(() => manager.get('none')).toThrow(
      expect.objectContaining({ code: 'UNKNOWN_POLICY', details: { name: 'none', known: ['all'] } }),
    );
  });

  test('an update keeps an open circuit, places that are taken and counts, and uses the new options', async () => {
    const clock = new FakeClock();
    const manager = createResilienceManager({ clock });
    const policy = manager.policy('p', { circuitBreaker: { minimumCalls: 2 }, bulkhead: { concurrency: 1 } });
    const slow = deferred();
    const running = policy.execute(() => slow.promise);
    manager.update('p', { circuitBreaker: { minimumCalls: 2 }, bulkhead: { concurrency: 2 }, timeout: '1s' });
    expect(await policy.execute(() => 'second place')).toBe('second place');
    await policy.execute(down).catch(() => {});
    await policy.execute(down).catch(() => {});
    slow.resolve('old call');
    expect(await running).toBe('old call');
    manager.update('p', { circuitBreaker: { minimumCalls: 50 }, timeout: '2s' });
    expect(await errorOf(policy.execute(() => 'x'))).toMatchObject({ code: 'CIRCUIT_OPEN', policy: 'p' });
    expect(manager.stats().policies['p']).toMatchObject({ calls: 5, succeeded: 2, failed: 1, rejected: 2 });
    expect(await manager.healthIndicator().check({ signal: new AbortController().signal })).toEqual({
      status: 'degraded',
      code: 'CIRCUIT_OPEN',
    });
  });

  test.each([
    [{}, 'definition'],
    [{ retries: {} } as PolicyDefinition, 'retries'],
    [{ retry: { attempts: 0 } }, 'retry.attempts'],
    [{ timeout: '2s', bulkhead: { concurrency: 0 } }, 'bulkhead.concurrency'],
    [{ timeout: 'soon' }, 'timeout'],
  ])('the bad definition %o is refused and changes nothing', (definition, option) => {
    const manager = createResilienceManager({
      policies: { p: { timeout: '1s', bulkhead: { concurrency: 3 } } },
    });
    const before = manager.definition('p');
    expect(() => manager.update('p', definition)).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTION', details: { option } }),
    );
    expect(manager.definition('p')).toBe(before);
    expect(manager.stats().policies['p']?.policies[0]).toMatchObject({ concurrency: 3 });
  });

  test('definitions change at random under load and no call is lost, no place leaks', async () => {
    const clock = new FakeClock();
    const random = seeded(42);
    const manager = createResilienceManager({ clock, random });
    const definition = (): PolicyDefinition => ({
      bulkhead: { concurrency: 1 + Math.floor(random() * 8), queue: 1_000 },
      ...(random() < 0.5 ? { retry: { attempts: 1 + Math.floor(random() * 3), baseDelay: 10 } } : {}),
      ...(random() < 0.5 ? { timeout: 200 + Math.floor(random() * 500) } : {}),
      ...(random() < 0.5 ? { totalTimeout: '60s' } : {}),
    });
    const policy = manager.policy('p', definition());
    let [begun, ended] = [0, 0];
    for (let step = 0; step < 400; step += 1) {
      for (let call = 0; call < 3; call += 1) {
        begun += 1;
        const work = (): Promise<unknown> =>
          new Promise(
            (resolve, reject) =>
              void clock.setTimeout(
                () => (random() < 0.3 ? reject(new Error('x')) : resolve(1)),
                random() * 100,
              ),
          );
        void policy.execute(work).then(
          () => (ended += 1),
          () => (ended += 1),
        );
      }
      if (step % 5 === 0) manager.update('p', definition());
      await clock.advance(20);
    }
    await clock.advance(300_000);
    expect(ended).toBe(begun);
    const stats = manager.stats().policies['p'];
    expect(stats?.calls).toBe(begun);
    expect(stats?.policies.find(({ kind }) => kind === 'bulkhead')).toMatchObject({ active: 0, queued: 0 });
    expect(clock.timers).toBe(0);
  });

  test('a named policy in a pipeline follows its updates, and giving up reaches through it', async () => {
    const clock = new FakeClock();
    const manager = createResilienceManager({ clock });
    const named = manager.policy('p', { bulkhead: { concurrency: 1 } });
    const policy = pipeline(timeout('1s', { clock }), named);
    expect(await policy.execute(() => 'ok')).toBe('ok');
    manager.update('p', { retry: { attempts: 2, baseDelay: 0 } });
    let signal: AbortSignal | undefined;
    const call = errorOf(policy.execute((context) => ((signal = context.signal), new Promise(() => {}))));
    await clock.advance(1_000);
    expect(await call).toMatchObject({ code: 'TIMEOUT' });
    expect(signal?.aborted).toBe(true);
  });

  test('orders that are likely mistakes are logged, and changes of a circuit are', async () => {
    const logger = recordingLogger();
    const manager = createResilienceManager({ logger });
    manager.policy('p', { retry: {}, circuitBreaker: { minimumCalls: 1 } });
    expect(logger.lines).toContainEqual(
      expect.objectContaining({ level: 'warn', fields: { policy: 'p', rule: 'no-timeout' } }),
    );
    await manager
      .get('p')
      .execute(down)
      .catch(() => {});
    expect(logger.lines).toContainEqual(
      expect.objectContaining({
        level: 'warn',
        fields: { breaker: 'p', from: 'closed', to: 'open', reason: 'failure-rate' },
      }),
    );
  });

  test('a manager tells what happens in all its policies; a listener that throws is counted and changes nothing', async () => {
    const manager = createResilienceManager({
      policies: {
        billing: { retry: { attempts: 2, baseDelay: 0 }, circuitBreaker: { minimumCalls: 2 } },
      },
    });
    const told: unknown[] = [];
    manager.on('retry', ({ policy, attempt }) => {
      told.push([policy, attempt]);
      throw new Error('a bad listener');
    });
    manager.on('transition', ({ breaker, to }) => told.push([breaker, to]));
    const down = new Error('down');
    expect(await errorOf(manager.get('billing').execute(() => Promise.reject(down)))).toBe(down);
    expect(told).toEqual([
      ['billing', 1],
      ['billing', 'open'],
    ]);
    expect(manager.stats().listenerErrors).toBe(1);
    await manager.close();
  });

  test('one manager per process and options, and a new one after close', async () => {
    const manager = getResilienceManager();
    expect(getResilienceManager()).toBe(manager);
    await manager.close();
    await manager.close();
    expect(getResilienceManager()).not.toBe(manager);
    expect(() => manager.policy('p', { timeout: '1s' })).toThrow(expect.objectContaining({ code: 'CLOSED' }));
    await getResilienceManager().close();
  });
});

describe('metrics', () => {
  test('what happened is reported under the names of the suite, once however often it is scraped', async () => {
    const metrics = recordingMetrics();
    const clock = new FakeClock();
    const manager = createResilienceManager({ metrics, clock });
    const policy = manager.policy('db', {
      retry: { attempts: 2, baseDelay: 100, jitter: 'none' },
      circuitBreaker: { minimumCalls: 4 },
      timeout: '1s',
    });
    await policy.execute(() => 'ok');
    for (let call = 0; call < 2; call += 1) {
      const failed = errorOf(policy.execute(down));
      await clock.advance(100);
      await failed;
    }
    await errorOf(policy.execute(() => 'refused'));
    await metrics.collect();
    await metrics.collect();
    const value = (name: string, labels: Record<string, string>): number =>
      metrics.value(`xiaoke_${name}`, labels);
    expect(value('retry_attempts_total', { policy: 'db', attempt: 'first' })).toBe(4);
    expect(value('retry_attempts_total', { policy: 'db', attempt: 'retry' })).toBe(2);
    expect(value('retry_calls_total', { policy: 'db', outcome: 'first_try' })).toBe(1);
    expect(value('retry_calls_total', { policy: 'db', outcome: 'exhausted' })).toBe(3);
    expect(metrics.observations('xiaoke_retry_delay_seconds', { policy: 'db' })).toEqual([0.1, 0.1]);
    expect(value('circuit_breaker_state', { breaker: 'db', state: 'open' })).toBe(1);
    expect(value('circuit_breaker_state', { breaker: 'db', state: 'closed' })).toBe(0);
    expect(value('circuit_breaker_calls_total', { breaker: 'db', outcome: 'failure' })).toBe(3);
    expect(value('circuit_breaker_calls_total', { breaker: 'db', outcome: 'rejected' })).toBe(2);
    expect(value('circuit_breaker_transitions_total', { breaker: 'db', to: 'open' })).toBe(1);
    expect(
      metrics.observations('xiaoke_circuit_breaker_call_duration_seconds', { breaker: 'db' }),
    ).toHaveLength(4);
  });
});

describe('advice', () => {
  async function run(
    definition: PolicyDefinition,
    calls: number,
    work: (call: number, attempt: number) => unknown,
  ): Promise<readonly string[]> {
    const clock = new FakeClock();
    const manager = createResilienceManager({ clock, random: seeded(1) });
    const policy = manager.policy('p', definition);
    for (let call = 0; call < calls; call += 1) {
      const running = policy.execute(async ({ attempt }) => work(call, attempt)).catch(() => {});
      await clock.advance(2_000);
      await running;
    }
    return manager.analyze().findings.map(({ code }) => code);
  }
  const fail = (): never => {
    throw new Error('down');
  };

  test('late attempts that never help, a storm without a budget', async () => {
    const found = await run({ retry: { attempts: 5, baseDelay: 1, budget: false } }, 200, (call) =>
      call % 2 === 0 ? fail() : 'ok',
    );
    expect(found).toEqual(expect.arrayContaining(['LATE_ATTEMPTS_USELESS', 'AMPLIFICATION']));
  });

  test('a first retry that nearly always helps', async () => {
    expect(
      await run({ retry: { baseDelay: 500, jitter: 'none' } }, 200, (call, attempt) =>
        call % 3 === 0 && attempt === 1 ? fail() : 'ok',
      ),
    ).toContain('FIRST_RETRY_EFFECTIVE');
  });

  test('a circuit that cannot trip, and one that trips all the time', async () => {
    expect(await run({ circuitBreaker: { minimumCalls: 1_000, window: '60s' } }, 200, fail)).toContain(
      'BREAKER_NEVER_TRIPPED',
    );
    expect(
      await run({ circuitBreaker: { minimumCalls: 2, openFor: 1, halfOpenCalls: 1 } }, 300, (call) =>
        call % 9 < 4 ? fail() : 'ok',
      ),
    ).toContain('BREAKER_FLAPS');
  });

  test('a timeout that cuts off many calls, and one that is never near', async () => {
    const clock = new FakeClock();
    const manager = createResilienceManager({ clock });
    const policy = manager.policy('short', { timeout: '1s' });
    for (let call = 0; call < 120; call += 1) {
      const running = policy
        .execute(
          () => new Promise<void>((resolve) => void clock.setTimeout(resolve, call % 2 === 0 ? 1_500 : 500)),
        )
        .catch(() => {});
      await clock.advance(2_000);
      await running;
    }
    await turn();
    expect(manager.analyze().findings.map(({ code }) => code)).toEqual(
      expect.arrayContaining(['TIMEOUT_TOO_SHORT', 'LATE_SUCCESSES']),
    );
    const long = createResilienceManager({ clock });
    const slow = long.policy('long', { timeout: '60s' });
    for (let call = 0; call < 120; call += 1) {
      const running = slow.execute(() => new Promise<void>((resolve) => void clock.setTimeout(resolve, 20)));
      await clock.advance(20);
      await running;
    }
    expect(long.analyze().findings).toMatchObject([{ policy: 'long', code: 'TIMEOUT_TOO_LONG' }]);
  });

  test('a budget that is used up', async () => {
    const clock = new FakeClock();
    const manager = createResilienceManager({ clock });
    const policy = manager.policy('p', { retry: { baseDelay: 0, budget: { minPerSecond: 1 } } });
    for (let call = 0; call < 200; call += 1) {
      const running = policy.execute(down).catch(() => {});
      await clock.advance(0);
      await running;
    }
    expect(manager.analyze().findings.map(({ code }) => code)).toContain('BUDGET_EXHAUSTED');
  });

  test('hedges that never win', async () => {
    const clock = new FakeClock();
    const manager = createResilienceManager({ clock });
    const policy = manager.policy('p', { hedge: { after: 10, budget: false } });
    for (let call = 0; call < 120; call += 1) {
      const running = policy.execute(
        () => new Promise<void>((resolve) => void clock.setTimeout(resolve, 50)),
      );
      await clock.advance(100);
      await running;
    }
    expect(manager.analyze().findings).toMatchObject([{ code: 'HEDGES_USELESS', numbers: { won: 0 } }]);
  });

  test('little is no evidence', async () => {
    expect(await run({ retry: { attempts: 5, baseDelay: 1 } }, 50, fail)).toEqual([]);
  });
});

describe('decorators', () => {
  test('retryable works on methods and functions, keeps this and the name', async () => {
    class Service {
      runs = 0;
      @retryable({ attempts: 3, baseDelay: 0 })
      async load(needed: number): Promise<number> {
        this.runs += 1;
        if (this.runs < needed) throw new Error('not yet');
        return this.runs;
      }
    }
    const service = new Service();
    expect(await service.load(3)).toBe(3);
    expect(service.load.name).toBe('load');
  });

  test('protectedBy finds its policy at each call', async () => {
    const manager = createResilienceManager();
    class Service {
      readonly answer = 42;
      @protectedBy('late', { manager })
      async ask(): Promise<number> {
        return this.answer;
      }
    }
    const service = new Service();
    expect(await errorOf(service.ask())).toMatchObject({ code: 'UNKNOWN_POLICY' });
    manager.policy('late', { bulkhead: { concurrency: 1 } });
    expect(await service.ask()).toBe(42);
    expect(manager.stats().policies['late']?.calls).toBe(1);
  });
});
