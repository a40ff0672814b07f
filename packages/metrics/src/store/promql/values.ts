import type { Matcher } from './ast.ts';
import { compileRegex } from './parse.ts';

/** Labels by name, `__name__` among them. */
export type Labels = Readonly<Record<string, string>>;

/** What a source gives for one series: samples in order of time. */
export interface SeriesData {
  readonly labels: Labels;
  /** Milliseconds since the epoch, ascending. */
  readonly timestamps: ArrayLike<number>;
  readonly values: ArrayLike<number>;
  /** 1 where the series had ended: no value, and none before counts any more. */
  readonly stale?: ArrayLike<number> | undefined;
  /** For samples that stand for a longer window: what lies behind them. */
  readonly windows?:
    | {
        readonly min: ArrayLike<number>;
        readonly max: ArrayLike<number>;
        readonly sum: ArrayLike<number>;
        readonly count: ArrayLike<number>;
      }
    | undefined;
}

/** Where a query gets its samples: the embedded store, or anything of this shape. */
export interface DataSource {
  /** All series that match, with their samples in `(from, to]`, milliseconds since the epoch. */
  select(matchers: readonly Matcher[], from: number, to: number): Promise<readonly SeriesData[]>;
}

/** One element of an instant vector. */
export interface Sample {
  readonly labels: Labels;
  readonly value: number;
  /** When it was measured, for `timestamp()`. */
  readonly at?: number;
}

/** The samples of one series in a window. */
export interface Range {
  readonly labels: Labels;
  readonly timestamps: readonly number[];
  readonly values: readonly number[];
  /** Parallel to `values`, where samples stand for longer windows. */
  readonly windows?: { min: number[]; max: number[]; sum: number[]; count: number[] } | undefined;
}

/** The value of an expression at one instant. */
export type Value =
  | { readonly type: 'scalar'; readonly value: number }
  | { readonly type: 'string'; readonly value: string }
  | { readonly type: 'vector'; readonly samples: readonly Sample[] }
  | {
      readonly type: 'matrix';
      readonly ranges: readonly Range[];
      readonly start: number;
      readonly end: number;
    };

/** Makes a test of labels. */
export function labelTest(matchers: readonly Matcher[]): (labels: Labels) => boolean {
  const tests = matchers.map(({ name, op, value }) => {
    const regex = op === '=~' || op === '!~' ? compileRegex(value) : undefined;
    const wanted = op === '=' || op === '=~';
    return (labels: Labels): boolean => {
      const own = Object.hasOwn(labels, name) ? (labels[name] ?? '') : '';
      return (regex === undefined ? own === value : regex.test(own)) === wanted;
    };
  });
  return (labels) => tests.every((test) => test(labels));
}

/** One text for one set of labels. */
export function labelKey(labels: Labels): string {
  const names = Object.keys(labels).sort();
  let key = '';
  for (const name of names) key += `${JSON.stringify(name)}${JSON.stringify(labels[name])}`;
  return key;
}

/** `labels` without the metric's name. */
export function dropName(labels: Labels): Labels {
  if (!Object.hasOwn(labels, '__name__')) return labels;
  const { __name__: _name, ...rest } = labels;
  return rest;
}

/** Only, or all but, some labels; the metric's name stays only if it is asked for. */
export function projectLabels(labels: Labels, names: readonly string[], keep: boolean): Labels {
  const result: Record<string, string> = {};
  if (keep) {
    for (const name of names) if (Object.hasOwn(labels, name)) result[name] = labels[name] ?? '';
    return result;
  }
  for (const [name, value] of Object.entries(labels)) {
    if (name !== '__name__' && !names.includes(name)) result[name] = value;
  }
  return result;
}
