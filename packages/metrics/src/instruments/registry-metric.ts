import type { Family } from './family.ts';

/** Marks our metrics inside a prom-client registry, across copies of this package. */
const FAMILY = Symbol.for('xiaoke.metrics.family');

/** One value as prom-client's registry reads it. */
export interface RegistryValue {
  readonly value: number;
  readonly labels: Record<string, string | number>;
  readonly metricName?: string;
}

/**
 * Our metric as prom-client's `Registry`, `merge()` and `AggregatorRegistry` see one. It is an object of its own because
 * a registry of type OpenMetrics renames the metrics it holds.
 */
export class RegistryMetric {
  name: string;
  readonly help: string;
  readonly type: string;
  readonly aggregator: string;
  readonly #family: Family;
  readonly #collect: () => Promise<void>;

  constructor(family: Family, collect: () => Promise<void>) {
    this.#family = family;
    Object.defineProperty(this, FAMILY, { value: family });
    this.name = family.name;
    this.help = family.help;
    this.type = family.type === 'info' ? 'gauge' : family.type;
    this.aggregator = { sum: 'sum', max: 'max', min: 'min', last: 'first' }[family.aggregate];
    this.#collect = collect;
  }

  async get(): Promise<{
    name: string;
    help: string;
    type: string;
    aggregator: string;
    values: RegistryValue[];
  }> {
    await this.#collect();
    const values: RegistryValue[] = [];
    const family = this.#family;
    for (const series of family.series) {
      const labels = family.labelsForRegistry(series);
      family.samples(series, (suffix, extra, value) => {
        const own = extra === undefined ? labels : { ...labels, [extra[0]]: extra[1] };
        values.push({ value, labels: own, ...(suffix === '' ? {} : { metricName: this.name + suffix }) });
      });
    }
    return { name: this.name, help: this.help, type: this.type, aggregator: this.aggregator, values };
  }

  reset(): void {
    this.#family.reset();
  }
}

/** The family behind an entry of a registry, if it is one of ours. */
export function familyOf(metric: unknown): Family | undefined {
  if (typeof metric !== 'object' || metric === null || !(FAMILY in metric)) return undefined;
  return metric[FAMILY] as Family;
}
