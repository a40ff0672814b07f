import { ProtoWriter } from '../proto-writer.ts';
import type { Exemplar } from '../instruments/exemplars.ts';
import { ZERO_THRESHOLD, type BucketRun, type NativeHistogram } from '../instruments/native-histogram.ts';

/** One sample to be written: labels with `__name__`, milliseconds since the epoch. */
export interface WriteSample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
  readonly time: number;
  readonly exemplar?: Exemplar | undefined;
}

/** Encodes `prometheus.WriteRequest`, one series a sample, with sorted labels as the receivers demand. */
export function encodeWriteRequest(
  samples: readonly WriteSample[],
  natives: readonly NativeSample[] = [],
): Buffer {
  const writer = new ProtoWriter(64 * 1_024);
  for (const { labels, value, time, exemplar } of samples) {
    writer.message(1, () => {
      writeLabels(writer, labels);
      writer.message(2, () => writer.double(1, value).uint(2, time));
      if (exemplar !== undefined) writeExemplar(writer, exemplar);
    });
  }
  for (const { labels, sum, histogram, time } of natives) {
    writer.message(1, () => {
      writeLabels(writer, labels);
      writer.message(4, () => writeNative(writer, histogram, sum, time));
    });
  }
  return writer.finish();
}

/** A native histogram to be written. */
export interface NativeSample {
  readonly labels: Readonly<Record<string, string>>;
  readonly sum: number;
  readonly histogram: NativeHistogram;
  readonly time: number;
}

function writeLabels(writer: ProtoWriter, labels: Readonly<Record<string, string>>): void {
  for (const name of Object.keys(labels).sort()) {
    const value = labels[name] ?? '';
    // To Prometheus an empty label is none.
    if (value !== '') writer.message(1, () => writer.string(1, name).string(2, value));
  }
}

function writeExemplar(writer: ProtoWriter, { labels, value, timestamp }: Exemplar): void {
  writer.message(3, () => {
    writeLabels(writer, labels);
    writer.double(2, value).uint(3, Math.round(timestamp * 1_000));
  });
}

// prometheus.Histogram: counts and spans as in the exposition, with field numbers of its own.
function writeNative(writer: ProtoWriter, histogram: NativeHistogram, sum: number, time: number): void {
  writer.uint(1, histogram.count).double(3, sum).sint(4, histogram.schema).double(5, ZERO_THRESHOLD);
  writer.uint(6, histogram.zero);
  writeSpans(writer, histogram.runs(true), 8, 9);
  writeSpans(writer, histogram.runs(), 11, 12);
  writer.uint(15, time);
}

function writeSpans(writer: ProtoWriter, runs: readonly BucketRun[], spans: number, deltas: number): void {
  let next = 0;
  for (const run of runs) {
    writer.message(spans, () => writer.sint(1, run.index - next).uint(2, run.counts.length));
    next = run.index + run.counts.length;
  }
  let before = 0;
  writer.message(deltas, () => {
    for (const run of runs) {
      for (const count of run.counts) {
        const delta = count - before;
        writer.varint(delta < 0 ? -2 * delta - 1 : 2 * delta);
        before = count;
      }
    }
  });
}
