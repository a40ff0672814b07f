/** Go's `%.4g`. */
export function fourDigits(value: number): string {
  if (!Number.isFinite(value)) return value === Infinity ? '+Inf' : value === -Infinity ? '-Inf' : 'NaN';
  if (value === 0) return '0';
  const exponent = Math.floor(Math.log10(Math.abs(Number(value.toPrecision(4)))));
  if (exponent < -4 || exponent >= 4) {
    const [mantissa = '', power = ''] = value.toExponential(3).split('e');
    const digits = Math.abs(Number(power)).toString().padStart(2, '0');
    return `${trimZeros(mantissa)}e${power.startsWith('-') ? '-' : '+'}${digits}`;
  }
  return trimZeros(value.toFixed(Math.max(0, 3 - exponent)));
}

function trimZeros(text: string): string {
  return text.includes('.') ? text.replace(/\.?0+$/, '') : text;
}

/** A number with a metric prefix: `1234` is `1.234k`. */
export function humanize(value: number): string {
  if (value === 0 || !Number.isFinite(value)) return fourDigits(value);
  const large = Math.abs(value) >= 1;
  const prefixes = large
    ? ['k', 'M', 'G', 'T', 'P', 'E', 'Z', 'Y']
    : ['m', 'u', 'n', 'p', 'f', 'a', 'z', 'y'];
  let rest = value;
  let prefix = '';
  for (const next of prefixes) {
    if (large ? Math.abs(rest) < 1_000 : Math.abs(rest) >= 1) break;
    prefix = next;
    rest = large ? rest / 1_000 : rest * 1_000;
  }
  return fourDigits(rest) + prefix;
}

/** As {@link humanize}, in powers of 1024. */
export function humanize1024(value: number): string {
  if (Math.abs(value) <= 1 || !Number.isFinite(value)) return fourDigits(value);
  let rest = value;
  let prefix = '';
  for (const next of ['ki', 'Mi', 'Gi', 'Ti', 'Pi', 'Ei', 'Zi', 'Yi']) {
    if (Math.abs(rest) < 1_024) break;
    prefix = next;
    rest /= 1_024;
  }
  return fourDigits(rest) + prefix;
}

/** Seconds as people say them: `12m 0s`, `4.956s`, `3ms`. */
export function humanizeDuration(value: number): string {
  if (!Number.isFinite(value)) return fourDigits(value);
  if (value === 0) return '0s';
  if (Math.abs(value) < 1) return small(value);
  const sign = value < 0 ? '-' : '';
  const seconds = Math.trunc(Math.abs(value));
  const [days, hours, minutes] = [
    Math.floor(seconds / 86_400),
    Math.floor(seconds / 3_600) % 24,
    Math.floor(seconds / 60) % 60,
  ];
  if (days > 0) return `${sign}${days}d ${hours}h ${minutes}m ${seconds % 60}s`;
  if (hours > 0) return `${sign}${hours}h ${minutes}m ${seconds % 60}s`;
  if (minutes > 0) return `${sign}${minutes}m ${seconds % 60}s`;
  return `${sign}${fourDigits(Math.abs(value))}s`;
}

function small(value: number): string {
  let rest = value;
  let prefix = '';
  for (const next of ['m', 'u', 'n', 'p', 'f', 'a', 'z', 'y']) {
    if (Math.abs(rest) >= 1) break;
    prefix = next;
    rest *= 1_000;
  }
  return `${fourDigits(rest)}${prefix}s`;
}

/** `0.5` is `50%`. */
export function humanizePercentage(value: number): string {
  return `${fourDigits(value * 100)}%`;
}
