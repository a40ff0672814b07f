import { MetricsError } from '../../errors.ts';

const UNITS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
  y: 31_536_000_000,
};

/** Milliseconds of a Prometheus duration such as `1h30m`; a bare number is seconds. */
export function parseDuration(text: string): number {
  const compact = text.trim();
  if (/^[+-]/.test(compact)) return (compact.startsWith('-') ? -1 : 1) * parseDuration(compact.slice(1));
  const seconds = Number(compact.replaceAll('_', ''));
  if (compact !== '' && !Number.isNaN(seconds)) return seconds * 1_000;
  if (!/^(\d+(ms|[smhdwy]))+$/.test(compact)) {
    throw new MetricsError('PROMQL_SYNTAX', `"${text.slice(0, 40)}" is no duration`);
  }
  let total = 0;
  for (const [, count, unit] of compact.matchAll(/(\d+)(ms|[smhdwy])/g)) {
    total += Number(count) * (UNITS[unit ?? ''] ?? 0);
  }
  return total;
}
