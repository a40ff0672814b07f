import { escapeHelp, formatBound, formatLabels, formatValue } from '../names.ts';
import { exemplarText } from '../instruments/counter.ts';

/** One value of a stock prom-client metric. */
export interface ForeignValue {
  readonly value: number;
  readonly labels: Readonly<Record<string, string | number>>;
  readonly metricName?: string;
  /** `null` where exemplars are kept and there is none yet. */
  readonly exemplar?: null | {
    readonly labelSet: Readonly<Record<string, string>>;
    readonly value: number;
    readonly timestamp: number;
  };
}

/** A stock prom-client metric as its `get()` gives it. */
export interface ForeignMetric {
  readonly name: string;
  readonly help: string;
  readonly type: string;
  readonly values: readonly ForeignValue[];
}

/** Whether `value` looks like the result of a prom-client metric's `get()`. */
export function isForeignMetric(value: unknown): value is ForeignMetric {
  if (typeof value !== 'object' || value === null) return false;
  return (
    'name' in value && 'help' in value && 'type' in value && 'values' in value && Array.isArray(value.values)
  );
}

/** The whole text of a stock metric; `defaults` are its registry's default labels. */
export function foreignText(
  metric: ForeignMetric,
  defaults: Readonly<Record<string, string>>,
  openMetrics: boolean,
): string {
  const counter = metric.type === 'counter';
  const family = openMetrics && counter ? metric.name.replace(/_total$/, '') : metric.name;
  let text = `# HELP ${family} ${escapeHelp(metric.help, openMetrics)}\n# TYPE ${family} ${metric.type}\n`;
  for (const value of withoutTwins(metric.values)) {
    const name = openMetrics && counter ? `${family}_total` : (value.metricName ?? metric.name);
    const labels = { ...defaults, ...value.labels };
    const values = Object.entries(labels).map(([label, of]) => labelText(label, of, openMetrics));
    const formatted = formatLabels(Object.keys(labels), values);
    const number = finiteIn(metric.type, value) ? formatValue(value.value) : '0';
    const exemplar = openMetrics && value.exemplar ? foreignExemplar(value.exemplar) : '';
    text += `${name}${formatted === '' ? '' : `{${formatted}}`} ${number}${exemplar}\n`;
  }
  return text;
}

/** Series by their labels: a caller that reused its labels object has made prom-client report one twice. */
export function withoutTwins(values: readonly ForeignValue[]): readonly ForeignValue[] {
  const seen = new Map<string, ForeignValue>();
  for (const value of values) {
    const key = `${value.metricName ?? ''} ${JSON.stringify(value.labels)}`;
    const twin = seen.get(key);
    seen.set(key, twin === undefined ? value : { ...value, value: value.value + twin.value });
  }
  return seen.size === values.length ? values : [...seen.values()];
}

function labelText(label: string, value: string | number, openMetrics: boolean): string {
  if (!openMetrics || (label !== 'le' && label !== 'quantile')) return String(value);
  return value === '+Inf' ? '+Inf' : formatBound(Number(value));
}

// A counter that is NaN breaks an OpenMetrics scrape as a whole.
function finiteIn(type: string, value: ForeignValue): boolean {
  return type !== 'counter' || !Number.isNaN(value.value);
}

function foreignExemplar(exemplar: NonNullable<ForeignValue['exemplar']>): string {
  return exemplarText({ labels: exemplar.labelSet, value: exemplar.value, timestamp: exemplar.timestamp });
}
