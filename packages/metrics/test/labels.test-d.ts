/** What the compiler refuses; a line that it accepts fails the type check. */
import { createMetricsCollector } from '@xiaoke/metrics';

const metrics = createMetricsCollector();
const jobs = metrics.counter({
  name: 'jobs_total',
  help: 'Jobs.',
  labels: { queue: String, outcome: ['ok', 'error'] },
});
jobs.inc({ queue: 'q', outcome: 'ok' });
jobs.with({ queue: 'q', outcome: 'error' }).inc(2);
// @ts-expect-error -- a label is missing
jobs.inc({ queue: 'q' });
// @ts-expect-error -- a value outside the closed set
jobs.inc({ queue: 'q', outcome: 'maybe' });
// @ts-expect-error -- a label that is not defined
jobs.inc({ queue: 'q', outcome: 'ok', extra: 'x' });
// @ts-expect-error -- a metric with labels takes them first
jobs.inc(1);
// @ts-expect-error -- bound children have their labels already
jobs.with({ queue: 'q', outcome: 'ok' }).inc({ queue: 'q' });

const plain = metrics.histogram({ name: 'wait_seconds', help: 'Wait.' });
plain.observe(1);
// @ts-expect-error -- a metric without labels takes the value alone
plain.observe({}, 1);
const depth = metrics.gauge({ name: 'depth', help: 'Depth.', labels: { queue: String } });
depth.set({ queue: 'q' }, 1);
// @ts-expect-error -- a value is wanted
depth.set({ queue: 'q' });

const breaker = metrics.stateSet({
  name: 'breaker',
  help: 'State.',
  labels: { name: String },
  states: ['open', 'closed'],
});
breaker.set({ name: 'pg' }, 'open');
// @ts-expect-error -- not one of its states
breaker.set({ name: 'pg' }, 'ajar');

const operation = metrics.operation('requests', { labels: { type: ['triage'] } });
const result: Promise<number> = operation.run({ type: 'triage' }, () => 1);
void result;
// @ts-expect-error -- not one of its types
void operation.run({ type: 'other' }, () => 1);
