/** Go's `%.4g`. */
export function fourDigits(value: number): string {
  return general(value, 4);
}

/** Go's `%.<digits>g`. */
export function general(value: number, digits: number): string {
  if (!Number.isFinite(value)) return infinite(value);
  if (value === 0) return '0';
  const exponent = exponentOf(value.toExponential(digits - 1));
  if (exponent < -4 || exponent >= digits) return withExponent(value.toExponential(digits - 1));
  return trimZeros(value.toFixed(Math.max(0, digits - 1 - exponent)));
}

/** Go's `%v`: the shortest text that reads back as the same number. */
export function shortest(value: number): string {
  if (!Number.isFinite(value)) return infinite(value);
  const exponent = value === 0 ? 0 : exponentOf(value.toExponential());
  if (exponent >= -4 && exponent < 6) return String(value);
  return withExponent(value.toExponential());
}

/** Go's `%.<digits>f`, which rounds a half to the even neighbour. */
export function fixed(value: number, digits: number): string {
  if (!Number.isFinite(value)) return infinite(value);
  const scaled = Math.abs(value) * 10 ** digits;
  const isHalf = scaled < 2 ** 52 && scaled - Math.floor(scaled) === 0.5;
  if (!isHalf || Math.floor(scaled) % 2 === 1) return value.toFixed(digits);
  return (Math.sign(value) * (Math.floor(scaled) / 10 ** digits)).toFixed(digits);
}

function infinite(value: number): string {
  return Number.isNaN(value) ? 'NaN' : value > 0 ? '+Inf' : '-Inf';
}

function exponentOf(text: string): number {
  return Number(text.slice(text.indexOf('e') + 1));
}

// Go writes at least two digits of the exponent.
function withExponent(text: string): string {
  const [mantissa = '', power = ''] = text.split('e');
  return `${trimZeros(mantissa)}e${power.startsWith('-') ? '-' : '+'}${power.slice(1).padStart(2, '0')}`;
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

// Nanoseconds since the epoch have to fit 64 bits, as in Prometheus.
const LAST_SECOND = 2 ** 63 / 1e9;

/** An instant, from seconds since the epoch: `2023-11-14 22:13:20 +0000 UTC`. */
export function humanizeTimestamp(seconds: number): string {
  if (!Number.isFinite(seconds)) return fourDigits(seconds);
  if (Math.abs(seconds) >= LAST_SECOND) return `${fourDigits(seconds)} s`;
  // By way of nanoseconds, whose rounding shows in the milliseconds.
  const milliseconds = Number(BigInt(Math.trunc(seconds * 1e9)) / 1_000_000n);
  const [day = '', time = ''] = new Date(milliseconds).toISOString().split('T');
  return `${day} ${time.replace(/(\.\d*?)0*Z$/, '$1').replace(/\.$/, '')} +0000 UTC`;
}
