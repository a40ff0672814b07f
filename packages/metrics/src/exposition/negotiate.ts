/** The formats a scrape can have. */
export type Format = 'text' | 'openmetrics' | 'protobuf';

/** The content type of each format. */
export const CONTENT_TYPES: Readonly<Record<Format, string>> = {
  text: 'text/plain; version=0.0.4; charset=utf-8',
  openmetrics: 'application/openmetrics-text; version=1.0.0; charset=utf-8',
  protobuf: 'application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited',
};

/** The best format that `accept` asks for; plain text for anything unknown, as every Prometheus reads it. */
export function negotiate(accept: string | undefined): Format {
  let best: { format: Format; quality: number } | undefined;
  for (const part of (accept ?? '').toLowerCase().split(',')) {
    const [type = '', ...parameters] = part.split(';').map((piece) => piece.trim());
    const format = formatOf(type, parameters);
    const quality = qualityOf(parameters);
    if (format !== undefined && quality > 0 && quality > (best?.quality ?? 0)) best = { format, quality };
  }
  return best?.format ?? 'text';
}

function formatOf(type: string, parameters: readonly string[]): Format | undefined {
  if (type === 'application/openmetrics-text') {
    // Versions of the draft, 0.0.1, read the same.
    const version = parameters.find((parameter) => parameter.startsWith('version='))?.slice(8) ?? '1.0.0';
    return ['1.0.0', '0.0.1'].includes(version.replaceAll('"', '')) ? 'openmetrics' : undefined;
  }
  if (type === 'application/vnd.google.protobuf') {
    const wanted = ['proto=io.prometheus.client.metricfamily', 'encoding=delimited'];
    return wanted.every((parameter) => parameters.includes(parameter)) ? 'protobuf' : undefined;
  }
  return type === 'text/plain' || type === 'text/*' || type === '*/*' ? 'text' : undefined;
}

function qualityOf(parameters: readonly string[]): number {
  const text = parameters.find((parameter) => parameter.startsWith('q='))?.slice(2);
  const quality = text === undefined ? 1 : Number(text);
  return Number.isFinite(quality) ? quality : 0;
}
