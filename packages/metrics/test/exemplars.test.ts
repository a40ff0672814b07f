/** Exemplars from the trace that is under way, as @opentelemetry/api knows it. */
import { AsyncLocalStorage } from 'node:async_hooks';
import { context, ROOT_CONTEXT, trace, type Context, type ContextManager } from '@opentelemetry/api';
import { afterEach, expect, test } from 'vitest';
import { createMetricsCollector } from '@xiaoke/metrics';

/** What the SDK of OpenTelemetry brings, as small as it can be. */
class Contexts implements ContextManager {
  readonly #storage = new AsyncLocalStorage<Context>();
  active(): Context {
    return this.#storage.getStore() ?? ROOT_CONTEXT;
  }
  with<A extends unknown[], F extends (...args: A) => ReturnType<F>>(
    own: Context,
    fn: F,
    self?: ThisParameterType<F>,
    ...args: A
  ): ReturnType<F> {
    return this.#storage.run(own, () => fn.apply(self, args));
  }
  bind<T>(_own: Context, target: T): T {
    return target;
  }
  enable(): this {
    return this;
  }
  disable(): this {
    return this;
  }
}

afterEach(() => context.disable());

const span = (traceFlags: number) =>
  trace.wrapSpanContext({ traceId: 'a'.repeat(32), spanId: 'b'.repeat(16), traceFlags });

const openMetrics = async (metrics: ReturnType<typeof createMetricsCollector>): Promise<string> =>
  String((await metrics.metrics('application/openmetrics-text')).body);

test('a measurement within a sampled span carries its trace, one outside or unsampled does not', async () => {
  const metrics = createMetricsCollector();
  const jobs = metrics.counter({ name: 'jobs_total', help: 'J.', labels: { kind: String } });
  const wait = metrics.histogram({ name: 'wait_seconds', help: 'W.', buckets: [1, 2] });
  // Tracing is set up after the collector was made.
  context.setGlobalContextManager(new Contexts());
  await metrics.metrics();
  jobs.inc({ kind: 'outside' });
  await context.with(trace.setSpan(context.active(), span(1)), async () => {
    await Promise.resolve();
    jobs.inc({ kind: 'inside' }, 3);
    wait.observe(1.5);
  });
  context.with(trace.setSpan(context.active(), span(0)), () => jobs.inc({ kind: 'unsampled' }));
  const text = await openMetrics(metrics);
  const traced = `# {trace_id="${'a'.repeat(32)}",span_id="${'b'.repeat(16)}"}`;
  expect(text).toContain(`jobs_total{kind="inside"} 3 ${traced} 3 `);
  expect(text).toContain(`wait_seconds_bucket{le="2.0"} 1 ${traced} 1.5 `);
  expect(text.split(traced)).toHaveLength(3);
});

test('without tracing nothing is asked, and a function of the user is used instead where there is one', async () => {
  const off = createMetricsCollector({ exemplars: false });
  context.setGlobalContextManager(new Contexts());
  const counter = off.counter({ name: 'c_total', help: 'C.' });
  context.with(trace.setSpan(context.active(), span(1)), () => counter.inc());
  expect(await openMetrics(off)).not.toContain('trace_id');
  let given: Record<string, string> | undefined = { request: 'r1' };
  const own = createMetricsCollector({ exemplars: () => given });
  const other = own.counter({ name: 'c_total', help: 'C.' });
  other.inc();
  expect(await openMetrics(own)).toContain('c_total 1 # {request="r1"} 1');
  // Nothing new, so the last one stays.
  given = undefined;
  other.inc();
  expect(await openMetrics(own)).toContain('c_total 2 # {request="r1"} 1');
});

test('labels that are too long for the format, or a function that throws, cost the exemplar and nothing else', async () => {
  const long = createMetricsCollector({ exemplars: () => ({ a: 'x'.repeat(200) }) });
  long.counter({ name: 'c_total', help: 'C.' }).inc();
  expect(await openMetrics(long)).toContain('\nc_total 1\n');
  const throwing = createMetricsCollector({
    exemplars: () => {
      throw new Error('no');
    },
  });
  throwing.counter({ name: 'c_total', help: 'C.' }).inc();
  expect(await openMetrics(throwing)).toContain('\nc_total 1\n');
});

test('a reset and a removal take the exemplars with them', async () => {
  const metrics = createMetricsCollector({ exemplars: () => ({ trace_id: 't' }), selfMetrics: false });
  const jobs = metrics.counter({ name: 'jobs_total', help: 'J.', labels: { kind: String } });
  jobs.inc({ kind: 'a' });
  metrics.reset();
  expect(await openMetrics(metrics)).not.toContain('trace_id');
  jobs.inc({ kind: 'a' });
  jobs.remove({ kind: 'a' });
  jobs.with({ kind: 'a' });
  expect(await openMetrics(metrics)).not.toContain('trace_id');
});
