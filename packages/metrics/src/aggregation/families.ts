import type { Logger } from '@xiaoke/core';
import type { MetricsCollector } from '../collector.ts';
import type { Aggregation, Family } from '../instruments/family.ts';
import { familyOf } from '../instruments/registry-metric.ts';
import type { ReportedFamily } from './report.ts';
import { SUITE_GAUGES } from './suite-gauges.ts';

/** The metrics of the sums, made after the first definition that is reported of each name. */
export class Families {
  readonly #collector: MetricsCollector;
  readonly #gauges: Readonly<Record<string, Aggregation>>;
  readonly #logger: Logger;
  readonly #known = new Map<string, Family>();
  readonly #conflicts = new Set<string>();

  constructor(collector: MetricsCollector, gauges: Readonly<Record<string, Aggregation>>, logger: Logger) {
    this.#collector = collector;
    this.#gauges = gauges;
    this.#logger = logger;
  }

  /** The family that a reported one adds to; nothing when another source defines the name otherwise. */
  of(reported: ReportedFamily): Family | undefined {
    const known = this.#known.get(reported.name) ?? this.#make(reported);
    if (known === undefined || !fits(known, reported)) {
      this.#conflict(reported.name);
      return undefined;
    }
    this.#known.set(reported.name, known);
    return known;
  }

  #make(reported: ReportedFamily): Family | undefined {
    const { name, type, buckets = [], native } = reported;
    const help = reported.help.trim() === '' ? `Of ${name}.` : reported.help;
    const labels = Object.fromEntries(reported.labels.map((label) => [label, String] as const));
    const definition = { name, help, labels };
    try {
      if (type === 'counter') this.#collector.counter(definition);
      else if (type === 'histogram')
        this.#collector.histogram({ ...definition, buckets, ...(native === undefined ? {} : { native }) });
      else if (type === 'summary') this.#collector.summary({ ...definition, quantiles: [] });
      else if (type === 'info') this.#collector.info(definition);
      else this.#collector.gauge({ ...definition, aggregate: this.#aggregateOf(reported) });
    } catch (error) {
      this.#logger.warn({ err: error, metric: name }, 'a metric of another process cannot be added up');
      return undefined;
    }
    return familyOf(this.#collector.registry.getSingleMetric(name));
  }

  #aggregateOf({ name, aggregate }: ReportedFamily): Aggregation {
    if (aggregate !== 'sum') return aggregate;
    const own = Object.hasOwn(this.#gauges, name) ? this.#gauges[name] : undefined;
    return own ?? (Object.hasOwn(SUITE_GAUGES, name) ? SUITE_GAUGES[name] : undefined) ?? 'sum';
  }

  #conflict(name: string): void {
    if (this.#conflicts.has(name)) return;
    this.#conflicts.add(name);
    this.#logger.warn({ metric: name }, 'processes define a metric differently; the first definition counts');
  }
}

function fits(family: Family, { type, labels, buckets = [] }: ReportedFamily): boolean {
  const own = 'upper' in family ? [...(family.upper as Float64Array)] : [];
  return (
    family.type === type &&
    family.schema.names.length === labels.length &&
    labels.every((label) => family.schema.names.includes(label)) &&
    String(own) === String(buckets)
  );
}
