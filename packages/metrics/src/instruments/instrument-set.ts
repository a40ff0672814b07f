import { fileURLToPath } from 'node:url';
import { InvalidOptionError, toMilliseconds, type LabelDefinitions } from '@xiaoke/core';
import type { CollectHooks } from '../collect-hooks.ts';
import { MetricConflictError } from '../errors.ts';
import { checkMetricName } from '../names.ts';
import type { ResolvedOptions } from '../options.ts';
import { CounterFamily } from './counter.ts';
import type { Aggregation, Family, FamilyContext, FamilyDefinition, MetricType } from './family.ts';
import { GaugeFamily } from './gauge.ts';
import { HistogramFamily } from './histogram.ts';
import { LabelSchema } from './label-schema.ts';
import { familyOf, RegistryMetric } from './registry-metric.ts';
import { SummaryFamily } from './summary.ts';

/** What all definitions have in common, without their label types. */
export interface LooseDefinition {
  readonly name: string;
  readonly help: string;
  readonly labels?: LabelDefinitions | undefined;
  readonly limit?: number;
  readonly aggregate?: Aggregation;
}

/** prom-client's defaults, which suit latencies of web requests in seconds. */
export const DEFAULT_BUCKETS: readonly number[] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** Makes families and finds them again: the same name and shape is the same metric, wherever it is defined. */
export class InstrumentSet {
  readonly #options: ResolvedOptions;
  readonly #context: FamilyContext;
  readonly #hooks: CollectHooks;

  constructor(options: ResolvedOptions, context: FamilyContext, hooks: CollectHooks) {
    this.#options = options;
    this.#context = context;
    this.#hooks = hooks;
  }

  counter(definition: LooseDefinition): CounterFamily {
    const base = this.#base(definition, 256);
    return this.#define(base, 'counter', () => new CounterFamily(base, this.#context));
  }

  gauge(
    definition: LooseDefinition & { readonly ttl?: number | string; readonly info?: boolean },
  ): GaugeFamily {
    const base = {
      ...this.#base(definition, 0),
      info: definition.info ?? false,
      ttl: definition.ttl === undefined ? undefined : toMilliseconds(definition.ttl, 'ttl', { min: 1 }),
    };
    return this.#define(base, base.info ? 'info' : 'gauge', () => new GaugeFamily(base, this.#context));
  }

  histogram(
    definition: LooseDefinition & {
      readonly buckets?: readonly number[];
      readonly native?: boolean | { readonly schema?: number; readonly maxBuckets?: number };
    },
  ): HistogramFamily {
    const base = {
      ...this.#base(definition, 32),
      buckets: resolveBuckets(definition.buckets ?? DEFAULT_BUCKETS),
      native: resolveNative(definition.native),
    };
    return this.#define(
      base,
      'histogram',
      () => new HistogramFamily(base, this.#context),
      (existing) => {
        if (String([...existing.upper]) !== String(base.buckets)) return 'set of buckets';
        return JSON.stringify(existing.native) === JSON.stringify(base.native)
          ? undefined
          : 'native histogram';
      },
    );
  }

  summary(
    definition: LooseDefinition & {
      readonly quantiles?: readonly number[];
      readonly maxAge?: number | string;
    },
  ): SummaryFamily {
    const quantiles = definition.quantiles ?? [0.5, 0.9, 0.99];
    if (!quantiles.every((q) => typeof q === 'number' && q >= 0 && q <= 1)) {
      throw new InvalidOptionError('quantiles', 'must be numbers from 0 to 1');
    }
    const maxAge = toMilliseconds(definition.maxAge ?? '5m', 'maxAge', { min: 1_000 });
    const base = { ...this.#base(definition, 32), quantiles, maxAge };
    return this.#define(base, 'summary', () => new SummaryFamily(base, this.#context));
  }

  /** Takes a metric out of the registry. */
  remove(name: string): void {
    this.#options.registry.removeSingleMetric(this.#options.prefix + name);
  }

  #base(definition: LooseDefinition, presetLimit: number): FamilyDefinition {
    if (typeof definition.help !== 'string' || definition.help.trim() === '') {
      throw new InvalidOptionError('help', 'must say what the metric means');
    }
    const limit = definition.limit ?? this.#options.limit;
    if (!(Number.isInteger(limit) || limit === Infinity) || limit < 1) {
      throw new InvalidOptionError('limit', 'must be a whole number from 1');
    }
    return {
      name: checkMetricName(this.#options.prefix + definition.name),
      help: definition.help,
      labels: definition.labels,
      aggregate: definition.aggregate,
      limit,
      presetLimit,
      site: callSite(),
    };
  }

  #define<F extends Family>(
    base: FamilyDefinition,
    type: MetricType,
    make: () => F,
    difference: (existing: F) => string | undefined = () => undefined,
  ): F {
    const { registry } = this.#options;
    const taken: unknown = registry.getSingleMetric(base.name);
    if (taken === undefined) {
      const family = make();
      const metric = new RegistryMetric(family, () => this.#hooks.run(family.name));
      // prom-client's type asks for its own classes; the registry itself only calls the members we have.
      registry.registerMetric(metric as never);
      return family;
    }
    const existing = familyOf(taken);
    const conflict = (what: string): never => {
      const first = existing?.site ?? 'as a stock prom-client metric';
      throw new MetricConflictError(base.name, what, { first, second: base.site });
    };
    if (existing?.type !== type) return conflict('kind');
    const what =
      existing.schema.differs(new LabelSchema(base.labels)) ?? difference(existing as unknown as F);
    return what === undefined ? (existing as unknown as F) : conflict(what);
  }
}

const OWN_SOURCES = fileURLToPath(new URL('..', import.meta.url));

// The first frame outside this package: where the application, or another package, defines the metric.
function callSite(): string {
  const frames = new Error('site').stack?.split('\n').slice(1) ?? [];
  return frames.find((frame) => !frame.includes(OWN_SOURCES))?.trim() ?? 'at an unknown place';
}

function resolveBuckets(buckets: readonly number[]): readonly number[] {
  if (!Array.isArray(buckets) || !buckets.every((b) => typeof b === 'number' && !Number.isNaN(b))) {
    throw new InvalidOptionError('buckets', 'must be numbers');
  }
  const finite = buckets.filter((bound) => Number.isFinite(bound));
  return [...new Set(finite)].sort((a, b) => a - b);
}

function resolveNative(
  native: boolean | { readonly schema?: number; readonly maxBuckets?: number } | undefined,
): { readonly schema: number; readonly maxBuckets: number } | undefined {
  if (native === undefined || native === false) return undefined;
  const { schema = 3, maxBuckets = 160 } = native === true ? {} : native;
  if (!Number.isInteger(schema) || schema < -4 || schema > 8) {
    throw new InvalidOptionError('native.schema', 'must be a whole number from -4 to 8');
  }
  // With 80 buckets the coarsest schema covers every number there is.
  if (!Number.isInteger(maxBuckets) || maxBuckets < 80) {
    throw new InvalidOptionError('native.maxBuckets', 'must be a whole number from 80');
  }
  return { schema, maxBuckets };
}
