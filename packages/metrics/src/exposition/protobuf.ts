import type { Exemplar } from '../instruments/exemplars.ts';
import type { Family } from '../instruments/family.ts';
import type { HistogramFamily, HistogramSeries } from '../instruments/histogram.ts';
import { ZERO_THRESHOLD, type BucketRun, type NativeHistogram } from '../instruments/native-histogram.ts';
import type { Series } from '../instruments/series.ts';
import type { SummaryFamily, SummarySeries } from '../instruments/summary.ts';
import type { ProtoWriter } from '../proto-writer.ts';
import type { ForeignMetric, ForeignValue } from './foreign.ts';
import { withoutTwins } from './foreign.ts';

// Field numbers of io.prometheus.client.MetricFamily and what it contains.
const TYPES: Readonly<Record<string, number>> = { counter: 0, gauge: 1, summary: 2, histogram: 4 };
const UNTYPED = 3;
const VALUE_FIELD: Readonly<Record<number, number>> = { 0: 3, 1: 2, 3: 5 };

/** Name, help and type of a family. */
export function protobufHeader(writer: ProtoWriter, family: Family): void {
  writer
    .string(1, family.name)
    .string(2, family.help)
    .uint(3, TYPES[family.type] ?? 1);
}

/** One series of a family. */
export function protobufSeries(writer: ProtoWriter, family: Family, series: Series): void {
  writer.message(4, () => {
    for (const [name, value] of Object.entries(family.labelsOf(series))) label(writer, name, value);
    // By type, not by class: the family may come from a second copy of this package.
    if (family.type === 'histogram') histogram(writer, family as HistogramFamily, series as HistogramSeries);
    else if (family.type === 'summary') summary(writer, family as SummaryFamily, series as SummarySeries);
    else {
      const [exemplar] = family.exemplars.get(series) ?? [];
      scalar(writer, TYPES[family.type] ?? 1, series.page[series.offset] ?? 0, exemplar);
    }
  });
}

/** A stock prom-client metric, delimited. */
export function protobufForeign(
  writer: ProtoWriter,
  metric: ForeignMetric,
  defaults: Readonly<Record<string, string>>,
): void {
  const type = TYPES[metric.type] ?? UNTYPED;
  writer.delimited(() => {
    writer.string(1, metric.name).string(2, metric.help).uint(3, type);
    for (const [labels, values] of bySeries(metric)) {
      writer.message(4, () => {
        for (const [name, value] of Object.entries({ ...defaults, ...labels }))
          label(writer, name, String(value));
        if (type === 4 || type === 2) foreignDistribution(writer, type, metric.name, values);
        else scalar(writer, type, values[0]?.value ?? 0, undefined);
      });
    }
  });
}

function bySeries(metric: ForeignMetric): (readonly [ForeignValue['labels'], ForeignValue[]])[] {
  const groups = new Map<string, [ForeignValue['labels'], ForeignValue[]]>();
  for (const value of withoutTwins(metric.values)) {
    const { le: _le, quantile: _quantile, ...labels } = value.labels;
    const own = metric.type === 'histogram' || metric.type === 'summary' ? labels : value.labels;
    const key = JSON.stringify(own);
    const group = groups.get(key) ?? [own, []];
    group[1].push(value);
    groups.set(key, group);
  }
  return [...groups.values()];
}

function label(writer: ProtoWriter, name: string, value: string): void {
  writer.message(1, () => writer.string(1, name).string(2, value));
}

function scalar(writer: ProtoWriter, type: number, value: number, exemplar: Exemplar | undefined): void {
  writer.message(VALUE_FIELD[type] ?? 2, () => {
    writer.double(1, value);
    if (type === 0 && exemplar !== undefined) writeExemplar(writer, 2, exemplar);
  });
}

function histogram(writer: ProtoWriter, family: HistogramFamily, series: HistogramSeries): void {
  const { page, offset } = series;
  const exemplars = family.exemplars.get(series);
  const buckets = family.upper.length + 1;
  let total = 0;
  for (let i = 0; i < buckets; i++) total += page[offset + i] ?? 0;
  writer.message(7, () => {
    writer.uint(1, total).double(2, page[offset + buckets] ?? 0);
    let below = 0;
    for (let i = 0; i < buckets; i++) {
      below += page[offset + i] ?? 0;
      writer.message(3, () => {
        writer.uint(1, below).double(2, family.upper[i] ?? Infinity);
        const exemplar = exemplars?.[i];
        if (exemplar !== undefined) writeExemplar(writer, 3, exemplar);
      });
    }
    if (series.native !== undefined) native(writer, series.native);
  });
}

function native(writer: ProtoWriter, histogram: NativeHistogram): void {
  writer.sint(5, histogram.schema).double(6, ZERO_THRESHOLD).uint(7, histogram.zero);
  spans(writer, histogram.runs(true), 9, 10);
  spans(writer, histogram.runs(), 12, 13);
}

// A span's offset counts from the end of the span before it; each count is the difference to the count before.
function spans(writer: ProtoWriter, runs: readonly BucketRun[], spanField: number, deltaField: number): void {
  let next = 0;
  for (const run of runs) {
    writer.message(spanField, () => writer.sint(1, run.index - next).uint(2, run.counts.length));
    next = run.index + run.counts.length;
  }
  let before = 0;
  for (const run of runs) {
    for (const count of run.counts) {
      writer.sint(deltaField, count - before);
      before = count;
    }
  }
}

function summary(writer: ProtoWriter, family: SummaryFamily, series: SummarySeries): void {
  writer.message(4, () => {
    writer.uint(1, series.page[series.offset] ?? 0).double(2, series.page[series.offset + 1] ?? 0);
    for (const [q, value] of family.quantileValues(series)) {
      writer.message(3, () => writer.double(1, q).double(2, value));
    }
  });
}

function foreignDistribution(
  writer: ProtoWriter,
  type: number,
  name: string,
  values: readonly ForeignValue[],
): void {
  const of = (suffix: string): number =>
    values.find((value) => value.metricName === name + suffix)?.value ?? 0;
  writer.message(type === 4 ? 7 : 4, () => {
    writer.uint(1, of('_count')).double(2, of('_sum'));
    for (const { labels, value } of values) {
      const bound = type === 4 ? labels['le'] : labels['quantile'];
      if (bound === undefined) continue;
      const limit = bound === '+Inf' ? Infinity : Number(bound);
      if (type === 4) writer.message(3, () => writer.uint(1, value).double(2, limit));
      else writer.message(3, () => writer.double(1, limit).double(2, value));
    }
  });
}

function writeExemplar(writer: ProtoWriter, field: number, exemplar: Exemplar): void {
  writer.message(field, () => {
    for (const [name, value] of Object.entries(exemplar.labels)) label(writer, name, value);
    const seconds = Math.floor(exemplar.timestamp);
    writer.double(2, exemplar.value);
    writer.message(3, () =>
      writer.uint(1, seconds).uint(2, Math.round((exemplar.timestamp - seconds) * 1e9)),
    );
  });
}
