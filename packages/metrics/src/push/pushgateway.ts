import { InvalidOptionError } from '@xiaoke/core';
import type { MetricsCollector } from '../collector.ts';
import { checkLabelName } from '../names.ts';
import { checkEndpoint } from './post.ts';
import { judgeStatus, type Payload, type Pusher, type PushOptions } from './pusher.ts';
import { QueuedPusher } from './queued-pusher.ts';

/** How metrics are left at a Pushgateway. */
export interface PushgatewayOptions extends PushOptions {
  readonly job: string;
  /** The rest of what names this group of metrics, such as `instance`. */
  readonly grouping?: Readonly<Record<string, string>>;
  /** Whether metrics of the group that are not in this push go away. @default true */
  readonly replace?: boolean;
  /** Whether the group is deleted when the pusher is closed. @default false */
  readonly deleteOnClose?: boolean;
}

/**
 * Leaves metrics at a Pushgateway, for jobs that end before anybody scrapes them. `url` is the gateway's address without
 * `/metrics`. Only the last collection is kept for a gateway that is away.
 *
 * @throws `INVALID_OPTION`
 * @example
 * ```ts
 * import { createMetricsCollector } from '@xiaoke/metrics';
 * import { pushgateway } from '@xiaoke/metrics/push';
 * const metrics = createMetricsCollector();
 * const gateway = pushgateway(metrics, { url: 'http://localhost:9091', job: 'nightly', interval: 0 });
 * await gateway.close();
 * ```
 */
export function pushgateway(collector: MetricsCollector, options: PushgatewayOptions): Pusher {
  const endpoint = checkEndpoint(options?.url, options?.headers);
  const { job, grouping = {}, replace = true, deleteOnClose = false } = options;
  if (typeof job !== 'string' || job === '') throw new InvalidOptionError('job', 'must be a name');
  for (const name of Object.keys(grouping)) checkLabelName(name, `grouping.${name}`, ['job']);
  const path = [['job', job] as const, ...Object.entries(grouping)].map(([name, value]) =>
    segment(name, value),
  );
  const url = `${endpoint.url.replace(/\/+$/, '')}/metrics/${path.join('/')}`;
  const collect = async (): Promise<readonly Payload[]> => {
    const { body, contentType } = await collector.metrics('text/plain');
    const headers = { 'content-type': contentType, ...endpoint.headers };
    const bytes = Buffer.byteLength(body);
    return [{ method: replace ? 'PUT' : 'POST', url, headers, body, bytes }];
  };
  const last = (): Payload => ({
    method: 'DELETE',
    url,
    headers: endpoint.headers,
    body: undefined,
    bytes: 0,
  });
  const target = {
    name: 'pushgateway',
    latestOnly: true,
    collect,
    judge: (answer: Parameters<typeof judgeStatus>[0]) =>
      judgeStatus(answer, (status) => status >= 500 || status === 429),
    ...(deleteOnClose ? { last } : {}),
  };
  return new QueuedPusher(collector, target, options);
}

// A value with a slash, or none, has to be encoded; everything else stays readable.
function segment(name: string, value: string): string {
  if (value !== '' && !value.includes('/')) return `${name}/${encodeURIComponent(value)}`;
  return `${name}@base64/${value === '' ? '=' : Buffer.from(value).toString('base64url')}`;
}
