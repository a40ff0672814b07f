import { InvalidOptionError, systemClock } from '@xiaoke/core';
import type { MetricsCollector } from '../collector.ts';
import { checkLabelName } from '../names.ts';
import type { MetricSnapshot } from '../snapshot.ts';
import { checkEndpoint, type Endpoint } from './post.ts';
import { judgeStatus, type BufferedPushOptions, type Payload, type Pusher } from './pusher.ts';
import { QueuedPusher } from './queued-pusher.ts';
import { snappyCompress } from './snappy.ts';
import { encodeWriteRequest, type NativeSample, type WriteSample } from './write-request.ts';

/** How metrics are written to a Prometheus-compatible database. */
export interface RemoteWriteOptions extends BufferedPushOptions {
  /** Added to every series that does not have them, such as `job` and `instance`. */
  readonly labels?: Readonly<Record<string, string>>;
  /** Samples of one request. @default 2000 */
  readonly batchSize?: number;
}

/**
 * Writes metrics to Prometheus, VictoriaMetrics, Mimir, or whatever else takes Prometheus's remote write 1.0, native
 * histograms and exemplars included. Samples keep the time of their collection, so an outage within the buffer loses none.
 *
 * @throws `INVALID_OPTION`
 * @example
 * ```ts
 * import { createMetricsCollector } from '@xiaoke/metrics';
 * import { remoteWrite } from '@xiaoke/metrics/push';
 * const metrics = createMetricsCollector();
 * const writer = remoteWrite(metrics, { url: 'http://localhost:9090/api/v1/write', labels: { job: 'medical' } });
 * await writer.close();
 * ```
 */
export function remoteWrite(collector: MetricsCollector, options: RemoteWriteOptions): Pusher {
  const endpoint = checkEndpoint(options?.url, options?.headers);
  const { labels = {}, batchSize = 2_000, clock = systemClock } = options;
  for (const name of Object.keys(labels)) checkLabelName(name, `labels.${name}`);
  if (!(Number.isInteger(batchSize) && batchSize >= 1))
    throw new InvalidOptionError('batchSize', 'must be a whole number from 1');
  const collect = async (): Promise<readonly Payload[]> => {
    // The time of the collection, not of the sending.
    const time = clock.now();
    return payloadsOf(await collector.snapshot(), { endpoint, labels, batchSize, time });
  };
  // Prometheus answers 400 to samples that are too old or out of order: trying again would never end.
  const retried = (status: number): boolean => status >= 500 || status === 429;
  const target = {
    name: 'remote-write',
    latestOnly: false,
    collect,
    judge: (answer: Parameters<typeof judgeStatus>[0]) => judgeStatus(answer, retried),
  };
  return new QueuedPusher(collector, target, options);
}

interface Batch {
  readonly endpoint: Endpoint;
  readonly labels: Readonly<Record<string, string>>;
  readonly batchSize: number;
  readonly time: number;
}

function payloadsOf(snapshot: readonly MetricSnapshot[], batch: Batch): readonly Payload[] {
  const { labels: extra, batchSize, time } = batch;
  const samples = snapshot.flatMap(({ samples: own }) =>
    own.map(({ name, labels, value, exemplar }): WriteSample => ({
      labels: { ...extra, ...labels, __name__: name },
      value,
      time,
      exemplar,
    })),
  );
  const natives = snapshot.flatMap(({ name, natives: own }) =>
    own.map(({ labels, sum, histogram }): NativeSample => ({
      labels: { ...extra, ...labels, __name__: name },
      sum,
      histogram,
      time,
    })),
  );
  const payloads: Payload[] = [];
  for (let at = 0; at < samples.length; at += batchSize)
    payloads.push(payload(batch.endpoint, encodeWriteRequest(samples.slice(at, at + batchSize))));
  if (natives.length > 0) payloads.push(payload(batch.endpoint, encodeWriteRequest([], natives)));
  return payloads;
}

function payload({ url, headers }: Endpoint, body: Buffer): Payload {
  const compressed = snappyCompress(body);
  return {
    method: 'POST',
    url,
    headers: {
      'content-encoding': 'snappy',
      'content-type': 'application/x-protobuf',
      'user-agent': 'xiaoke-metrics',
      'x-prometheus-remote-write-version': '0.1.0',
      ...headers,
    },
    body: compressed,
    bytes: compressed.length,
  };
}
