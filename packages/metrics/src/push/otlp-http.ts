import { gzipSync } from 'node:zlib';
import { InvalidOptionError, systemClock } from '@xiaoke/core';
import type { MetricsCollector } from '../collector.ts';
import { otlpPayload } from './otlp-payload.ts';
import { checkEndpoint, type PostAnswer } from './post.ts';
import { judgeStatus, type BufferedPushOptions, type Payload, type Pusher, type Verdict } from './pusher.ts';
import { QueuedPusher } from './queued-pusher.ts';

/** How metrics are exported to an OpenTelemetry collector. */
export interface OtlpHttpOptions extends BufferedPushOptions {
  /** Attributes of the resource; `service.name` belongs here. */
  readonly resource?: Readonly<Record<string, string>>;
  /** @default 'gzip' */
  readonly compression?: 'gzip' | 'none';
}

const RETRIED: ReadonlySet<number> = new Set([429, 502, 503, 504]);

/**
 * Exports metrics by OTLP over HTTP with JSON. `url` is the whole address, such as `http://localhost:4318/v1/metrics`.
 * Counters become monotonic sums, histograms keep their bounds, native histograms become exponential ones.
 *
 * @throws `INVALID_OPTION`
 * @example
 * ```ts
 * import { createMetricsCollector } from '@xiaoke/metrics';
 * import { otlpHttp } from '@xiaoke/metrics/push';
 * const metrics = createMetricsCollector();
 * const url = 'http://localhost:4318/v1/metrics';
 * const exporter = otlpHttp(metrics, { url, resource: { 'service.name': 'medical' } });
 * await exporter.close();
 * ```
 */
export function otlpHttp(collector: MetricsCollector, options: OtlpHttpOptions): Pusher {
  const { url, headers } = checkEndpoint(options?.url, options?.headers);
  const { resource = {}, compression = 'gzip', clock = systemClock } = options;
  if (compression !== 'gzip' && compression !== 'none')
    throw new InvalidOptionError('compression', "must be 'gzip' or 'none'");
  const start = clock.now();
  const encoding: Readonly<Record<string, string>> =
    compression === 'gzip' ? { 'content-encoding': 'gzip' } : {};
  const collect = async (): Promise<readonly Payload[]> => {
    const now = clock.now();
    const text = JSON.stringify(otlpPayload(await collector.snapshot(), resource, { start, now }));
    const body = compression === 'gzip' ? gzipSync(text, { level: 1 }) : Buffer.from(text);
    const all = { 'content-type': 'application/json', ...encoding, ...headers };
    return [{ method: 'POST', url, headers: all, body, bytes: body.length }];
  };
  return new QueuedPusher(collector, { name: 'otlp', latestOnly: false, collect, judge }, options);
}

// A success may say that some points were refused; sending them again would not help.
function judge(answer: PostAnswer): Verdict {
  const verdict = judgeStatus(answer, (status) => RETRIED.has(status));
  if (verdict.kind !== 'sent') return verdict;
  const rejected = /"rejectedDataPoints"\s*:\s*"?(\d+)/.exec(answer.body)?.[1];
  if (rejected === undefined || Number(rejected) === 0) return verdict;
  return { kind: 'partial', reason: `the receiver refused ${rejected} points` };
}
