import { InvalidOptionError } from '@xiaoke/core';

const METRIC = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;
const LABEL = /^[a-zA-Z_][a-zA-Z0-9_]*$/;

/** Refuses a name that Prometheus would not take. */
export function checkMetricName(name: unknown, option = 'name'): string {
  if (typeof name !== 'string' || !METRIC.test(name)) {
    throw new InvalidOptionError(option, `must match ${METRIC.source}`, {
      details: { name: String(name).slice(0, 80) },
    });
  }
  return name;
}

/** Refuses a label name that Prometheus would not take, or that the kind of metric uses itself. */
export function checkLabelName(name: string, option: string, reserved: readonly string[] = []): void {
  if (!LABEL.test(name) || name.startsWith('__')) {
    throw new InvalidOptionError(
      option,
      `is no label name: it must match ${LABEL.source} and not start with __`,
    );
  }
  if (reserved.includes(name)) throw new InvalidOptionError(option, 'is reserved for this kind of metric');
}

/** Escapes a label value for the text formats. */
export function escapeLabelValue(value: string): string {
  if (!/[\\"\n]/.test(value)) return value;
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}

/** Escapes HELP; OpenMetrics escapes quotes too. */
export function escapeHelp(help: string, openMetrics: boolean): string {
  const escaped = help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
  return openMetrics ? escaped.replaceAll('"', '\\"') : escaped;
}

/**
 * `a="x",b="y"` of parallel names and values. Joined rather than added up: what it gives is kept for as long as its series,
 * and a text that was added up keeps every one of its pieces.
 */
export function formatLabels(names: readonly string[], values: readonly string[]): string {
  const parts: string[] = [];
  for (let i = 0; i < names.length; i++) {
    parts.push(i === 0 ? '' : ',', names[i] ?? '', '="', escapeLabelValue(values[i] ?? ''), '"');
  }
  return parts.join('');
}

/** A sample value as all Prometheus formats read it. */
export function formatValue(value: number): string {
  if (value === Infinity) return '+Inf';
  if (value === -Infinity) return '-Inf';
  return String(value);
}

/** As {@link formatValue}, with the `.0` that OpenMetrics wants in `le` and `quantile`. */
export function formatBound(value: number): string {
  const text = formatValue(value);
  return /^-?\d+$/.test(text) ? `${text}.0` : text;
}
