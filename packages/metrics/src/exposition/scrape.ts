import type { Registry } from 'prom-client';
import type { CollectHooks } from '../collect-hooks.ts';
import type { Family, FamilyContext } from '../instruments/family.ts';
import type { GaugeFamily } from '../instruments/gauge.ts';
import { familyOf } from '../instruments/registry-metric.ts';
import { ProtoWriter } from '../proto-writer.ts';
import { TimeSlices } from '../time-slices.ts';
import { foreignText, isForeignMetric, type ForeignMetric } from './foreign.ts';
import type { Format } from './negotiate.ts';
import { protobufForeign, protobufHeader, protobufSeries } from './protobuf.ts';
import { textHeader, textLines } from './text.ts';

/** A metric ready to be written: one of ours, or a stock one with its values. */
export type Collected = { readonly family: Family } | { readonly foreign: ForeignMetric };

// How long the event loop may be held before a scrape steps aside, in milliseconds.
const SLICE = 2;
const LINES = 200;
// Text is cheap to put together and dear to write out, so a piece has a size and not only a time.
const PIECE = 32_768;

/** Brings everything in the registry up to date; a stock metric that fails or hangs is counted and left out. */
export async function collectAll(registry: Registry, hooks: CollectHooks): Promise<readonly Collected[]> {
  await hooks.run();
  const metrics: readonly unknown[] = registry.getMetricsAsArray();
  const defaults = defaultLabels(registry);
  const collected = metrics.map(async (metric): Promise<Collected | undefined> => {
    const family = familyOf(metric);
    if (family !== undefined) {
      family.useDefaults(defaults);
      // By shape: the family may come from a second copy of this package.
      (family as Family & Partial<Pick<GaugeFamily, 'expire'>>).expire?.();
      return { family };
    }
    const stock = metric as { readonly name: string; get(): unknown };
    const foreign = await hooks.guard(stock.name, () => stock.get());
    return isForeignMetric(foreign) ? { foreign } : undefined;
  });
  return (await Promise.all(collected)).filter((one) => one !== undefined);
}

/** How a collector gives what it collected to other parts of this package, of another copy too. */
export const COLLECT: unique symbol = Symbol.for('xiaoke.metrics.collect');

/** Everything that a collector has, up to date. */
export async function collectFrom(collector: object): Promise<readonly Collected[]> {
  const own = collector as { [COLLECT]?(): Promise<readonly Collected[]> };
  return (await own[COLLECT]?.()) ?? [];
}

/** Under it a collector keeps what its instruments share. */
export const CONTEXT: unique symbol = Symbol.for('xiaoke.metrics.context');

/** What the instruments of a collector share. */
export function contextOf(collector: object): FamilyContext | undefined {
  return (collector as { readonly [CONTEXT]?: FamilyContext })[CONTEXT];
}

/** The default labels a prom-client registry puts on its metrics. */
export function defaultLabels(registry: Registry): Readonly<Record<string, string>> {
  return (registry as { _defaultLabels?: Readonly<Record<string, string>> })._defaultLabels ?? {};
}

/** Writes a scrape in pieces, giving way to other work every few milliseconds. */
export async function* renderPieces(
  collected: readonly Collected[],
  format: Format,
  defaults: Readonly<Record<string, string>>,
): AsyncGenerator<string | Buffer, void, undefined> {
  const slices = new TimeSlices(SLICE);
  let pending = '';
  const pieces =
    format === 'protobuf' ? protobufPieces(collected, defaults) : textPieces(collected, format, defaults);
  for (const piece of pieces) {
    if (typeof piece === 'string') pending += piece;
    else yield piece;
    if (pending.length >= PIECE) {
      yield pending;
      pending = '';
    }
    // The reader's work is part of the time.
    if (slices.due) await slices.turn();
  }
  if (pending !== '') yield pending;
}

function* textPieces(
  collected: readonly Collected[],
  format: Format,
  defaults: Readonly<Record<string, string>>,
): Generator<string, void, undefined> {
  const openMetrics = format === 'openmetrics';
  for (const one of collected) {
    if ('foreign' in one) {
      yield foreignText(one.foreign, defaults, openMetrics);
      continue;
    }
    const { family } = one;
    const { series } = family;
    if (series.length === 0) continue;
    yield textHeader(family, openMetrics);
    const step = Math.max(1, Math.floor(LINES / (family.slots + 1)));
    for (let from = 0; from < series.length; from += step) {
      yield textLines(family, series, [from, Math.min(from + step, series.length)], openMetrics);
    }
  }
  if (openMetrics) yield '# EOF\n';
}

// A family is one message with its length in front, so it is complete before any of it is given out.
function* protobufPieces(
  collected: readonly Collected[],
  defaults: Readonly<Record<string, string>>,
): Generator<string | Buffer, void, undefined> {
  for (const one of collected) {
    const writer = new ProtoWriter();
    if ('foreign' in one) {
      protobufForeign(writer, one.foreign, defaults);
      yield writer.finish();
    } else if (one.family.series.length > 0) {
      yield* fillFamily(writer, one.family);
      yield new ProtoWriter(10).varint(writer.length).finish();
      yield writer.finish();
    }
  }
}

function* fillFamily(writer: ProtoWriter, family: Family): Generator<string, void, undefined> {
  protobufHeader(writer, family);
  for (const [i, series] of family.series.entries()) {
    protobufSeries(writer, family, series);
    // A place to step aside.
    if (i % 50 === 49) yield '';
  }
}
