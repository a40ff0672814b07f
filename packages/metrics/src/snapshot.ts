import type { Collected } from './exposition/scrape.ts';
import type { Exemplar } from './instruments/exemplars.ts';
import type { MetricType } from './instruments/family.ts';
import type { HistogramSeries } from './instruments/histogram.ts';
import { TimeSlices } from './time-slices.ts';
import type { NativeHistogram } from './instruments/native-histogram.ts';

/** One number with everything that names it, as Prometheus would store it. */
export interface SampleSnapshot {
  /** With its suffix: `_bucket`, `_sum`, `_count` or none. */
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
  /** The last traced measurement behind a counter or a bucket. */
  readonly exemplar?: Exemplar | undefined;
}

/** One metric and all its samples. */
export interface MetricSnapshot {
  readonly name: string;
  readonly help: string;
  readonly type: MetricType | 'unknown';
  readonly samples: readonly SampleSnapshot[];
  /** Native histograms by their labels, where the metric keeps them. */
  readonly natives: readonly {
    readonly labels: Readonly<Record<string, string>>;
    readonly sum: number;
    readonly histogram: NativeHistogram;
  }[];
}

// How long reading may hold the event loop, in milliseconds.
const SLICE = 3;

const TYPES: readonly string[] = ['counter', 'gauge', 'histogram', 'summary'];

/** Reads everything that was collected. */
export async function snapshotOf(
  collected: readonly Collected[],
  defaults: Readonly<Record<string, string>>,
): Promise<readonly MetricSnapshot[]> {
  const slices = new TimeSlices(SLICE);
  const snapshots: MetricSnapshot[] = [];
  for (const one of collected) {
    if ('foreign' in one) snapshots.push(foreignSnapshot(one, defaults));
    else snapshots.push(await familySnapshot(one, slices));
    await slices.turn();
  }
  return snapshots;
}

async function familySnapshot(
  { family }: Extract<Collected, { family: unknown }>,
  slices: TimeSlices,
): Promise<MetricSnapshot> {
  const samples: SampleSnapshot[] = [];
  const natives: MetricSnapshot['natives'][number][] = [];
  for (const [i, series] of family.series.entries()) {
    if (i % 100 === 99) await slices.turn();
    const labels = family.labelsOf(series);
    let sum = 0;
    let bucket = 0;
    const exemplars = family.exemplars.get(series);
    family.samples(series, (suffix, extra, value) => {
      if (suffix === '_sum') sum = value;
      const own = extra === undefined ? labels : { ...labels, [extra[0]]: extra[1] };
      const traced = suffix === '' || suffix === '_bucket' ? exemplars?.[bucket++] : undefined;
      const sample = { name: family.name + suffix, labels: own, value };
      samples.push(traced === undefined ? sample : { ...sample, exemplar: traced });
    });
    const { native: histogram } = series as Partial<HistogramSeries>;
    if (histogram !== undefined) natives.push({ labels, sum, histogram });
  }
  return { name: family.name, help: family.help, type: family.type, samples, natives };
}

function foreignSnapshot(
  { foreign }: Extract<Collected, { foreign: unknown }>,
  defaults: Readonly<Record<string, string>>,
): MetricSnapshot {
  const type = TYPES.includes(foreign.type) ? (foreign.type as MetricType) : 'unknown';
  const samples = foreign.values.map(({ metricName, labels, value }) => {
    const own = Object.entries({ ...defaults, ...labels }).map(([name, of]) => [name, String(of)] as const);
    return { name: metricName ?? foreign.name, labels: Object.fromEntries(own), value };
  });
  return { name: foreign.name, help: foreign.help, type, samples, natives: [] };
}
