import type { Family } from '../instruments/family.ts';
import type { Series } from '../instruments/series.ts';
import { escapeHelp } from '../names.ts';

/** HELP and TYPE of a family. */
export function textHeader(family: Family, openMetrics: boolean): string {
  const name = openMetrics ? openMetricsName(family) : family.name;
  const type = family.type === 'info' && !openMetrics ? 'gauge' : family.type;
  return `# HELP ${name} ${escapeHelp(family.help, openMetrics)}\n# TYPE ${name} ${type}\n`;
}

/** The lines of `series[from]` up to `series[to]`. */
export function textLines(
  family: Family,
  series: readonly Series[],
  range: readonly [from: number, to: number],
  openMetrics: boolean,
): string {
  let text = '';
  for (let i = range[0]; i < range[1]; i++) text += family.text(series[i] as Series, openMetrics);
  return text;
}

// OpenMetrics names a counter and an info without the suffix of their samples.
function openMetricsName(family: Family): string {
  if (family.type === 'counter') return family.name.replace(/_total$/, '');
  return family.type === 'info' ? family.name.replace(/_info$/, '') : family.name;
}
