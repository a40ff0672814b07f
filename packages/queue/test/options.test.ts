import { afterEach, describe, expect, it } from 'vitest';
import {
  context,
  propagation,
  trace,
  TraceFlags,
  type Context,
  type ContextManager,
} from '@opentelemetry/api';
import { eventually } from '@xiaoke/core/testing';
import { backoffDelay, resolveBackoff, type Backoff } from '../src/backoff.ts';
import { createQueueManager, type QueueManager, type QueueManagerOptions } from '../src/index.ts';
import { nextFire, planFires, resolveRule, type ScheduleRule } from '../src/schedules.ts';
import { loadTracing } from '../src/tracing.ts';

const open: QueueManager[] = [];

async function queueWith(options: QueueManagerOptions = {}): Promise<QueueManager> {
  const manager = await createQueueManager(options);
  open.push(manager);
  return manager;
}

afterEach(async () => {
  await Promise.all(open.splice(0).map((manager) => manager.close({ timeout: 500 })));
});

describe('backoff', () => {
  const delays = (options: Parameters<typeof resolveBackoff>[0], random = 0.5): number[] =>
    [1, 2, 3, 4].map((attempt) =>
      backoffDelay(resolveBackoff(options, 'backoff') as Backoff, attempt, () => random),
    );

  it('doubles, grows or stays, up to its maximum', () => {
    expect(delays({ strategy: 'exponential', delay: 100, jitter: 'none' })).toEqual([100, 200, 400, 800]);
    expect(delays({ strategy: 'exponential', delay: 100, maxDelay: 300, jitter: 'none' })).toEqual([
      100, 200, 300, 300,
    ]);
    expect(delays({ strategy: 'linear', delay: 100 })).toEqual([100, 200, 300, 400]);
    expect(delays({ strategy: 'constant', delay: '1s' })).toEqual([1_000, 1_000, 1_000, 1_000]);
  });

  it('jitters fully by default when exponential, and from half when equal', () => {
    expect(delays({ strategy: 'exponential', delay: 100 }, 0)).toEqual([0, 0, 0, 0]);
    expect(delays({ strategy: 'constant', delay: 100, jitter: 'equal' }, 0)).toEqual([50, 50, 50, 50]);
    expect(delays(undefined, 1)).toEqual([1_000, 2_000, 4_000, 8_000]);
  });

  it('may be a function, given with the handler, the task or the defaults; one that fails ends the task', async () => {
    const queue = await queueWith({ defaults: { attempts: 2 } });
    const waits: number[] = [];
    queue.on('retrying', ({ delayMs }) => waits.push(delayMs));
    queue.registerTaskHandler('own', () => Promise.reject(new Error('no')), {
      backoff: { strategy: (attempt) => attempt * 3 },
    });
    queue.registerTaskHandler('broken', () => Promise.reject(new Error('no')), {
      backoff: {
        strategy: () => {
          throw new Error('broken');
        },
      },
    });
    await queue.startWorkers(2);
    const own = await queue.enqueueTask('own', 1);
    await expect(own.result()).rejects.toMatchObject({ code: 'TASK_FAILED' });
    const given = await queue.enqueueTask('own', 1, { backoff: { strategy: () => '7ms' } });
    await expect(given.result()).rejects.toMatchObject({ code: 'TASK_FAILED' });
    expect(waits).toEqual([3, 7]);
    const broken = await queue.enqueueTask('broken', 1);
    await expect(broken.result()).rejects.toMatchObject({ code: 'TASK_FAILED' });
    expect(await queue.getTask(broken.id)).toMatchObject({ reason: 'NON_RETRYABLE', attempts: 1 });
  });
});

describe('schedules', () => {
  const definition = (rule: ScheduleRule, anchor = 0): Parameters<typeof nextFire>[0] => ({
    rule: resolveRule(rule),
    name: 't',
    payload: null,
    options: {},
    anchor,
  });
  const at = (text: string): number => Date.parse(text);

  it('a day with 23 hours has one fire of a daily schedule, and so has one with 25', () => {
    const daily = definition({ cron: '30 2 * * *', timezone: 'Europe/Berlin' });
    const fires = (from: string, count: number): string[] => {
      const found: string[] = [];
      for (let time = at(from); found.length < count;) {
        time = nextFire(daily, time);
        found.push(new Date(time).toISOString());
      }
      return found;
    };
    const days = (list: string[]): number[] => list.map((text) => new Date(text).getUTCDate());
    // On 29 March 2026 the clock goes from 2 to 3, on 25 October from 3 to 2.
    expect(days(fires('2026-03-27T12:00:00Z', 4))).toEqual([28, 29, 30, 31]);
    expect(days(fires('2026-10-23T12:00:00Z', 4))).toEqual([24, 25, 26, 27]);
  });

  it('missed fires are skipped, made up once, or made up all, at most a hundred', () => {
    const plan = (misfire: 'skip' | 'latest' | 'all', now: number): ReturnType<typeof planFires> =>
      planFires(definition({ every: 1_000, misfire }), 1_000, now);
    expect(plan('skip', 600_500)).toEqual({ fires: [600_000], next: 601_000 });
    expect(planFires(definition({ every: '1m', misfire: 'skip' }), 60_000, 90_000)).toEqual({
      fires: [],
      next: 120_000,
    });
    expect(plan('latest', 5_500)).toEqual({ fires: [5_000], next: 6_000 });
    expect(plan('all', 5_500)).toEqual({ fires: [1_000, 2_000, 3_000, 4_000, 5_000], next: 6_000 });
    expect(plan('all', 600_500).fires).toHaveLength(100);
  });

  it('has a first and a last time', () => {
    const rule = { every: 1_000, startAt: new Date(10_000), endAt: new Date(12_000) };
    expect(nextFire(definition(rule), 0)).toBe(10_000);
    expect(nextFire(definition(rule), 10_000)).toBe(11_000);
    expect(nextFire(definition(rule), 12_000)).toBe(Infinity);
  });

  it('is refused with the option that is wrong', () => {
    const wrong: readonly [string, ScheduleRule][] = [
      ['cron', {}],
      ['cron', { cron: '* * * * *', every: 1 }],
      ['every', { every: 1 }],
      ['misfire', { every: '1m', misfire: 'never' as 'skip' }],
      ['overlap', { every: '1m', overlap: 'queue' as 'skip' }],
      ['startAt', { every: '1m', startAt: new Date(Number.NaN) }],
      ['rule', undefined as unknown as ScheduleRule],
    ];
    for (const [option, rule] of wrong)
      expect(() => resolveRule(rule)).toThrow(expect.objectContaining({ details: { option } }));
  });

  it('takes neither an id, a delay nor a time for its tasks, nor a backoff that is a function', async () => {
    const queue = await queueWith();
    for (const options of [
      { id: 'x' },
      { delay: 1 },
      { runAt: new Date() },
      { backoff: { strategy: () => 1 } },
    ])
      await expect(queue.schedules.upsert('s', { every: '1m' }, 't', 1, options)).rejects.toMatchObject({
        code: 'INVALID_OPTION',
      });
    await expect(
      queue.schedules.upsert('s', { every: '1m', endAt: new Date(0) }, 't', 1),
    ).rejects.toMatchObject({ code: 'INVALID_OPTION' });
    expect(await queue.schedules.list()).toEqual([]);
  });

  it('with overlap "skip" does not fire while its last task lives', async () => {
    const queue = await queueWith();
    await queue.schedules.upsert('s', { every: 100, overlap: 'skip' }, 't', 1);
    const fires = async (): Promise<number> => (await queue.schedules.list())[0]?.nextAt.getTime() ?? 0;
    const first = await fires();
    await eventually(async () => expect(await fires()).toBeGreaterThan(first + 300));
    expect((await queue.inspectQueues(['default']))[0]?.totals.enqueued).toBe(1);
  });
});

describe('compression', () => {
  it.each(['gzip', 'brotli', { algorithm: 'gzip', threshold: 10 }] as const)(
    'with %o a payload arrives as it was, in records too',
    async (compression) => {
      const queue = await queueWith({ compression });
      queue.registerTaskHandler('t', async (payload: string) => payload.length);
      await queue.startWorkers(1);
      for (const payload of ['short', 'ü long '.repeat(2_000)]) {
        const task = await queue.enqueueTask('t', payload);
        expect(await task.result()).toBe(payload.length);
        expect((await queue.getTask(task.id))?.payload).toBe(payload);
      }
    },
  );
});

describe('options of a manager', () => {
  it('are refused at once, with the path of what is wrong', async () => {
    const wrong: readonly [string, unknown][] = [
      ['options', null],
      ['namespace', { namespace: '' }],
      ['queues', { queues: [] }],
      ['queues[0]', { queues: ['a\nb'] }],
      ['priorities', { priorities: 'random' }],
      ['priorities.low', { priorities: { high: 2, normal: 1, low: 0 } }],
      ['compression', { compression: 'zip' }],
      ['compression.threshold', { compression: { algorithm: 'gzip', threshold: -1 } }],
      ['partitions', { partitions: 0 }],
      ['lease', { lease: 1 }],
      ['payloadLimit', { payloadLimit: 0.5 }],
      ['retention.deadAge', { retention: { deadAge: 'never' } }],
      ['limits.default.concurrency', { limits: { default: { concurrency: 0 } } }],
      ['limits.default.rate.limit', { limits: { default: { rate: { limit: 0, per: '1s' } } } }],
      ['defaults.attempts', { defaults: { attempts: 0 } }],
      ['defaults.backoff.strategy', { defaults: { backoff: { strategy: 'none' } } }],
      ['defaults.backoff.jitter', { defaults: { backoff: { strategy: 'linear', jitter: 'some' } } }],
      ['defaults.unique.mode', { defaults: { unique: { key: 'k', mode: 'once' } } }],
      ['defaults.unique.for', { defaults: { unique: { key: 'k', mode: 'throttle' } } }],
      ['defaults.group.concurrency', { defaults: { group: { key: 'g', concurrency: 0 } } }],
    ];
    for (const [option, options] of wrong) {
      await expect(createQueueManager(options as QueueManagerOptions)).rejects.toMatchObject({
        code: 'INVALID_OPTION',
        details: { option },
      });
    }
  });

  it('weights of its own share the slots of the priorities', async () => {
    const queue = await queueWith({ priorities: { high: 1, normal: 1, low: 2 } });
    const order: string[] = [];
    queue.registerTaskHandler('p', async (priority: string) => void order.push(priority));
    for (const priority of ['high', 'normal', 'low'] as const)
      await queue.enqueueTasks(
        Array.from({ length: 8 }, () => ({ name: 'p', payload: priority, options: { priority } })),
      );
    await queue.startWorkers(1);
    await queue.whenIdle();
    const firstEight = order.slice(0, 8);
    expect(firstEight.filter((priority) => priority === 'low')).toHaveLength(4);
  });
});

describe('tracing', () => {
  it('carries the W3C context of the enqueuing code to the handler, and ends the span with it', async () => {
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
    const [, traceId = '', spanId = ''] = traceparent.split('-');
    let active: Context | undefined;
    const base = context.active();
    const contexts: ContextManager = {
      active: () => active ?? base,
      with: (next, work, thisArg, ...args) => {
        const before = active;
        active = next;
        try {
          return Reflect.apply(work, thisArg, args);
        } finally {
          active = before;
        }
      },
      bind: (_context, target) => target,
      enable: () => contexts,
      disable: () => contexts,
    };
    context.setGlobalContextManager(contexts);
    propagation.setGlobalPropagator({
      inject: (from, carrier, setter) => {
        const span = trace.getSpanContext(from);
        if (span !== undefined) setter.set(carrier, 'traceparent', `00-${span.traceId}-${span.spanId}-01`);
      },
      extract: (from, carrier, getter) => {
        const value = String(getter.get(carrier, 'traceparent'));
        const [, trace_ = '', span = ''] = value.split('-');
        return trace.setSpanContext(from, { traceId: trace_, spanId: span, traceFlags: TraceFlags.SAMPLED });
      },
      fields: () => ['traceparent'],
    });
    const queue = await queueWith();
    const seen: (string | undefined)[] = [];
    queue.registerTaskHandler(
      't',
      async () => void seen.push(trace.getSpanContext(context.active())?.traceId),
    );
    await queue.startWorkers(1);
    const span = trace.setSpanContext(base, { traceId, spanId, traceFlags: TraceFlags.SAMPLED });
    const task = await context.with(span, () => queue.enqueueTask('t', 1));
    await task.result();
    expect(seen).toEqual([traceId]);
    const tracing = await loadTracing();
    expect(() =>
      tracing.run(traceparent, 't', () => {
        throw new Error('thrown');
      }),
    ).toThrow('thrown');
    context.disable();
    propagation.disable();
  });
});
