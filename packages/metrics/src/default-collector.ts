import type {
  CloseOptions,
  Decorator,
  HealthIndicator,
  LabelDefinitions,
  MetricDefinition,
  NoLabels,
} from '@xiaoke/core';
import { InvalidOptionError, processWideSync, toMilliseconds } from '@xiaoke/core';
import promClient, { type Registry } from 'prom-client';
import { CollectHooks, type CollectEntry } from './collect-hooks.ts';
import type { Exposition, HttpServerLike, MetricsCollector, MetricsStats } from './collector.ts';
import { measuring, type MeasureOptions } from './decorators.ts';
import type * as define from './definitions.ts';
import { createHandler, type MetricsHandler } from './exposition/handler.ts';
import { CONTENT_TYPES, negotiate, type Format } from './exposition/negotiate.ts';
import {
  COLLECT,
  CONTEXT,
  collectAll,
  defaultLabels,
  renderPieces,
  type Collected,
} from './exposition/scrape.ts';
import { fastifyPlugin, type FastifyPlugin } from './http/fastify.ts';
import {
  observeRequest,
  watchExpressRoute,
  type HttpRequestLike,
  type HttpResponseLike,
} from './http/node-http.ts';
import { HttpRecorder, type HttpMetricsOptions } from './http/recorder.ts';
import { LabelledCounter } from './instruments/counter.ts';
import { ExemplarSource } from './instruments/exemplars.ts';
import type { Family, FamilyContext } from './instruments/family.ts';
import { LabelledGauge } from './instruments/gauge.ts';
import { LabelledHistogram } from './instruments/histogram.ts';
import { DEFAULT_BUCKETS, InstrumentSet } from './instruments/instrument-set.ts';
import { familyOf } from './instruments/registry-metric.ts';
import { LabelledSummary } from './instruments/summary.ts';
import { ValuePages } from './instruments/value-pages.ts';
import {
  checkSlo,
  durationName,
  makeOperation,
  type Operation,
  type OperationOptions,
  type SloDefinition,
} from './operation.ts';
import { resolveOptions, type MetricsCollectorOptions, type ResolvedOptions } from './options.ts';
import { startRuntime, type RuntimeOptions } from './runtime/runtime.ts';
import { selfMetrics, setTo, type SelfMetrics } from './self-metrics.ts';
import { snapshotOf, type MetricSnapshot } from './snapshot.ts';

const HOOKS = Symbol.for('xiaoke.metrics.hooks');

class DefaultCollector implements MetricsCollector {
  readonly registry: Registry;
  readonly [CONTEXT]: FamilyContext;
  readonly #options: ResolvedOptions;
  readonly #hooks: CollectHooks;
  readonly #instruments: InstrumentSet;
  readonly #exemplars: ExemplarSource;
  readonly #self: SelfMetrics | undefined;
  readonly #closing = new AbortController();
  #runtime = false;
  #scrapes = 0;

  constructor(options: MetricsCollectorOptions) {
    this.#options = resolveOptions(options);
    const { registry, clock, logger, collectTimeout } = this.#options;
    this.registry = registry;
    this.#exemplars = new ExemplarSource(this.#options.exemplars);
    this.#hooks = new CollectHooks({
      entries: hooksOf(registry),
      timeout: collectTimeout,
      clock,
      logger,
      onError: (name) => this.#self?.collectFailed(name),
    });
    this[CONTEXT] = this.#makeContext();
    this.#instruments = new InstrumentSet(this.#options, this[CONTEXT], this.#hooks);
    if (this.#options.selfMetrics) this.#self = selfMetrics(this.#instruments, this.#hooks, registry);
  }

  get closed(): boolean {
    return this.#closing.signal.aborted;
  }

  counter<const L extends LabelDefinitions = NoLabels>(
    definition: define.CounterDefinition<L>,
  ): define.Counter<L> {
    const family = this.#instruments.counter(checkDefinition(definition));
    return instrumentOf<define.Counter<L>>(family, () => new LabelledCounter(family));
  }

  gauge<const L extends LabelDefinitions = NoLabels>(definition: define.GaugeDefinition<L>): define.Gauge<L> {
    const family = this.#instruments.gauge(checkDefinition(definition));
    const gauge = instrumentOf<define.Gauge<L>>(family, () => new LabelledGauge(family));
    const { collect, signal, collectEvery = 0 } = definition;
    if (collect !== undefined) {
      if (typeof collect !== 'function') throw new InvalidOptionError('collect', 'must be a function');
      const every = toMilliseconds(collectEvery, 'collectEvery');
      this.#hooks.add({ name: family.name, collect: (context) => collect(gauge, context), signal, every });
    }
    return gauge;
  }

  histogram<const L extends LabelDefinitions = NoLabels>(
    definition: define.HistogramDefinition<L>,
  ): define.Histogram<L> {
    const family = this.#instruments.histogram(checkDefinition(definition));
    return instrumentOf<define.Histogram<L>>(family, () => new LabelledHistogram(family));
  }

  summary<const L extends LabelDefinitions = NoLabels>(
    definition: define.SummaryDefinition<L>,
  ): define.Summary<L> {
    const family = this.#instruments.summary(checkDefinition(definition));
    return instrumentOf<define.Summary<L>>(family, () => new LabelledSummary(family));
  }

  stateSet<const S extends string, const L extends LabelDefinitions = NoLabels>(
    definition: define.StateSetDefinition<L, S>,
  ): define.StateSet<L, S> {
    const { states, stateLabel = 'state', name, help } = checkDefinition(definition);
    const labels = { ...definition.labels, [stateLabel]: states };
    const family = this.#instruments.gauge({ name, help, labels, aggregate: 'max' });
    const set = (of: Readonly<Record<string, string>>, state: string): void => {
      if (!(states as readonly string[]).includes(state))
        return family.reject('the state is not one of its states');
      for (const one of states) family.lookup({ ...of, [stateLabel]: one }).set(one === state ? 1 : 0);
    };
    const labelled = definition.labels !== undefined && Object.keys(definition.labels).length > 0;
    const call = labelled ? set : (state: string) => set({}, state);
    return { set: call as define.StateSet<L, S>['set'] };
  }

  info<const L extends LabelDefinitions>(definition: MetricDefinition<L>): define.Info<L> {
    const name = definition.name.endsWith('_info') ? definition.name : `${definition.name}_info`;
    const family = this.#instruments.gauge({ ...definition, name, info: true, aggregate: 'max' });
    return {
      set: (labels) => {
        const wanted = family.lookup(labels);
        for (const series of family.series) if (series !== wanted) family.detach(series);
        wanted.set(1);
      },
    };
  }

  operation<const L extends LabelDefinitions = NoLabels>(
    name: string,
    options: OperationOptions<L> = {},
  ): Operation<L> {
    checkSlo(options.slo);
    const { labels, help = `The operation ${name}` } = options;
    const threshold = options.slo?.latency?.threshold;
    const buckets = [
      ...(options.buckets ?? DEFAULT_BUCKETS),
      ...(threshold === undefined ? [] : [threshold]),
    ];
    const define = this.#instruments;
    if (options.slo !== undefined) this.#showObjective(name, options.slo);
    const processed = define.counter({
      name: `${name}_processed_total`,
      help: `${help}: how many ended, by outcome.`,
      labels: { ...labels, outcome: ['ok', 'error', 'rejected'] },
    });
    const duration = define.histogram({
      name: durationName(name),
      help: `${help}: how long it took.`,
      labels,
      buckets,
    });
    const progress = { name: `${name}_in_progress`, help: `${help}: how many are under way.`, labels };
    const inProgress = define.gauge(progress);
    return makeOperation(name, options, {
      processed: (of, outcome) => processed.lookup({ ...of, outcome }),
      duration: (of) => duration.lookup(of),
      inProgress: (of) => inProgress.lookup(of),
    });
  }

  runtime(options: RuntimeOptions = {}): void {
    if (this.#runtime) return;
    this.#runtime = true;
    const counter = (name: string, help: string, read: () => number): void => {
      const family = this.#instruments.counter({ name, help });
      const series = family.lookup({});
      const { signal } = this.#closing;
      this.#hooks.add({ name: family.name, collect: () => setTo(series, read()), signal });
    };
    const { signal } = this.#closing;
    startRuntime({ collector: this, counter, clock: this.#options.clock, signal }, options);
  }

  timed(name: string, options: MeasureOptions = {}): Decorator<unknown> {
    const { help = 'How long calls take, by outcome.', buckets } = options;
    const labels = { outcome: ['ok', 'error'] } as const;
    const histogram = this.histogram({ name, help, labels, ...(buckets === undefined ? {} : { buckets }) });
    return measuring(() => {
      const start = performance.now();
      return (outcome) => histogram.observe({ outcome }, (performance.now() - start) / 1_000);
    });
  }

  counted(name: string, options: MeasureOptions = {}): Decorator<unknown> {
    const { help = 'Calls, by outcome.' } = options;
    const counter = this.counter({ name, help, labels: { outcome: ['ok', 'error'] } });
    return measuring(() => (outcome) => counter.inc({ outcome }));
  }

  inFlight(name: string, options: MeasureOptions = {}): Decorator<unknown> {
    const gauge = this.gauge({ name, help: options.help ?? 'Calls under way.' });
    return measuring(() => {
      gauge.inc();
      return () => gauge.dec();
    });
  }

  async metrics(accept?: string): Promise<Exposition> {
    const format = negotiate(accept);
    const pieces: (string | Buffer)[] = [];
    for await (const piece of this.#pieces(format)) pieces.push(piece);
    const contentType = CONTENT_TYPES[format];
    if (format === 'protobuf')
      return { contentType, body: Buffer.concat(pieces.map((piece) => Buffer.from(piece))) };
    return { contentType, body: pieces.join('') };
  }

  handler(): MetricsHandler {
    return createHandler((format) => this.#pieces(format));
  }

  fastify(options: HttpMetricsOptions = {}): FastifyPlugin {
    return fastifyPlugin(new HttpRecorder(this, options));
  }

  express(
    options: HttpMetricsOptions = {},
  ): (request: HttpRequestLike, response: HttpResponseLike, next: () => void) => void {
    const recorder = new HttpRecorder(this, options);
    return (request, response, next) => {
      const route = watchExpressRoute(request);
      observeRequest(recorder, request, response, (of) => route.routeOf(of));
      next();
    };
  }

  nodeHttp(
    server: HttpServerLike,
    options: HttpMetricsOptions & { readonly route?: (request: HttpRequestLike) => string | undefined } = {},
  ): () => void {
    const recorder = new HttpRecorder(this, options);
    const route = options.route ?? (() => undefined);
    const listener = (request: HttpRequestLike, response: HttpResponseLike): void =>
      observeRequest(recorder, request, response, route);
    server.on('request', listener);
    return () => void server.off('request', listener);
  }

  async snapshot(): Promise<readonly MetricSnapshot[]> {
    return snapshotOf(await this[COLLECT](), defaultLabels(this.registry));
  }

  [COLLECT](): Promise<readonly Collected[]> {
    this.#exemplars.refresh();
    return collectAll(this.registry, this.#hooks);
  }

  reset(): void {
    for (const family of this.#families()) family.reset();
  }

  remove(name: string): void {
    const family = familyOf(this.registry.getSingleMetric(this.#options.prefix + name));
    if (family !== undefined) for (const series of family.series) family.detach(series);
    this.#instruments.remove(name);
  }

  stats(): MetricsStats {
    const families = this.#families();
    const sum = (of: (family: Family) => number): number =>
      families.reduce((total, one) => total + of(one), 0);
    return {
      metrics: families.length,
      series: sum((family) => family.series.length),
      dropped: sum((family) => family.dropped),
      invalid: sum((family) => family.invalid),
      scrapes: this.#scrapes,
    };
  }

  healthIndicator(): HealthIndicator {
    const check = (): Promise<{ status: 'healthy' } | { status: 'degraded'; code: string }> =>
      Promise.resolve(
        this.stats().dropped > 0 ? { status: 'degraded', code: 'SERIES_LIMIT' } : { status: 'healthy' },
      );
    return { name: 'metrics', check };
  }

  close(_options: CloseOptions = {}): Promise<void> {
    this.#closing.abort();
    this.#hooks.clear();
    return Promise.resolve();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async *#pieces(format: Format): AsyncGenerator<string | Buffer, void, undefined> {
    const started = performance.now();
    this.#scrapes += 1;
    const collected = await this[COLLECT]();
    yield* renderPieces(collected, format, defaultLabels(this.registry));
    this.#self?.scraped((performance.now() - started) / 1_000);
  }

  // With it a dashboard can draw what is left of the budget.
  #showObjective(operation: string, { objective, latency }: SloDefinition): void {
    const objectives = this.#instruments.gauge({
      name: 'xiaoke_slo_objective',
      help: 'The share of an operation that must be good.',
      labels: { operation: String, budget: ['errors', 'latency'] },
      aggregate: 'max',
    });
    objectives.lookup({ operation, budget: 'errors' }).set(objective);
    if (latency !== undefined) objectives.lookup({ operation, budget: 'latency' }).set(latency.objective);
  }

  #families(): readonly Family[] {
    const metrics: readonly unknown[] = this.registry.getMetricsAsArray();
    return metrics.map((metric) => familyOf(metric)).filter((family) => family !== undefined);
  }

  #makeContext(): FamilyContext {
    const { constLabels, clock, invalid } = this.#options;
    return {
      pages: new ValuePages(),
      constLabels,
      exemplars: this.#exemplars,
      now: () => clock.now(),
      invalid,
      onSeries: undefined,
    };
  }
}

/**
 * Makes a collector.
 *
 * @throws `INVALID_OPTION`
 * @example
 * ```ts
 * import { createMetricsCollector } from '@xiaoke/metrics';
 * const metrics = createMetricsCollector({ constLabels: { service: 'medical' } });
 * const done = metrics.counter({ name: 'jobs_total', help: 'Jobs done.', labels: { kind: ['scan', 'mail'] } });
 * const scans = done.with({ kind: 'scan' });
 * scans.inc();
 * const { body } = await metrics.metrics();
 * console.log(String(body).split('\n')[2]); // => jobs_total{service="medical",kind="scan"} 1
 * ```
 */
export function createMetricsCollector(options: MetricsCollectorOptions = {}): MetricsCollector {
  return new DefaultCollector(options);
}

/** The process-wide collector, on prom-client's global registry. */
export const getMetricsCollector: () => MetricsCollector = processWideSync('@xiaoke/metrics', () =>
  createMetricsCollector({ registry: promClient.register }),
);

// Kept on the registry, so that every collector on it, of any copy of this package, fills every gauge.
function hooksOf(registry: Registry): Set<CollectEntry> {
  const holder = registry as { [HOOKS]?: Set<CollectEntry> };
  return (holder[HOOKS] ??= new Set());
}

function checkDefinition<D extends { readonly name: string }>(definition: D): D {
  if (typeof definition !== 'object' || definition === null) {
    throw new InvalidOptionError('definition', 'must be an object with a name and a help');
  }
  return definition;
}

/** The series itself for a metric without labels, so that an update is one call; else what `labelled` makes. */
function instrumentOf<I>(family: Family, labelled: () => unknown): I {
  return (family.schema.names.length === 0 ? family.byValues([]) : labelled()) as I;
}
