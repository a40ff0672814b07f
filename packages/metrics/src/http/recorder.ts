import type { BoundGauge } from '@xiaoke/core';
import type { MetricsCollector } from '../collector.ts';

/** How HTTP requests are measured. */
export interface HttpMetricsOptions {
  /** Seconds. @default prom-client's */
  readonly buckets?: readonly number[];
  /** Also the sizes of requests and responses, where a `content-length` tells them. @default true */
  readonly sizes?: boolean;
  /** Requests that are not measured, such as probes. Gets the path without its query. */
  readonly ignore?: (path: string) => boolean;
}

/** The route of requests that matched none: one series for all the scanners of the world. */
export const UNMATCHED = '__unmatched__';

const METHODS: ReadonlySet<string> = new Set([
  'GET',
  'HEAD',
  'POST',
  'PUT',
  'PATCH',
  'DELETE',
  'OPTIONS',
  'CONNECT',
  'TRACE',
]);
const STATUS: readonly string[] = Array.from({ length: 600 }, (_, code) => String(code));
const SIZE_BUCKETS = [100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000];

/** What is known of a finished request. */
export interface FinishedRequest {
  readonly route: string | undefined;
  readonly status: number;
  /** Whether the client left before the response was complete. */
  readonly aborted: boolean;
  readonly requestBytes: unknown;
  readonly responseBytes: unknown;
}

/** A request that is under way. */
export interface RunningRequest {
  readonly method: string;
  readonly gauge: BoundGauge;
  readonly started: number;
  ended: boolean;
}

/** Rate, errors and duration of HTTP requests, under the names that community dashboards know. */
export class HttpRecorder {
  /** Nothing where every request is measured. */
  readonly ignore: ((path: string) => boolean) | undefined;
  readonly #duration;
  readonly #inFlight;
  readonly #aborted;
  readonly #requestSize;
  readonly #responseSize;
  readonly #gauges = new Map<string, BoundGauge>();

  constructor(collector: MetricsCollector, options: HttpMetricsOptions) {
    this.ignore = options.ignore;
    this.#duration = collector.histogram({
      name: 'http_request_duration_seconds',
      help: 'Time to answer a request.',
      labels: { method: String, route: String, status_code: String },
      ...(options.buckets === undefined ? {} : { buckets: options.buckets }),
    });
    this.#inFlight = collector.gauge({
      name: 'http_requests_in_flight',
      help: 'Requests being answered.',
      labels: { method: String },
    });
    this.#aborted = collector.counter({
      name: 'http_requests_aborted_total',
      help: 'Requests whose client left before the answer was complete.',
      labels: { method: String, route: String },
    });
    const size = (name: string, help: string) =>
      collector.histogram({ name, help, labels: { method: String, route: String }, buckets: SIZE_BUCKETS });
    const sizes = options.sizes !== false;
    this.#requestSize = sizes ? size('http_request_size_bytes', 'Size of request bodies.') : undefined;
    this.#responseSize = sizes ? size('http_response_size_bytes', 'Size of response bodies.') : undefined;
  }

  /** Notes the start of a request. */
  begin(requestMethod: string | undefined): RunningRequest {
    const method = METHODS.has(requestMethod ?? '') ? (requestMethod as string) : 'OTHER';
    const gauge = this.#gauge(method);
    gauge.inc();
    return { method, gauge, started: performance.now(), ended: false };
  }

  /** Notes the end of a request; only the first counts. */
  end(running: RunningRequest, finished: FinishedRequest): void {
    if (running.ended) return;
    running.ended = true;
    running.gauge.dec();
    const { method } = running;
    const seconds = (performance.now() - running.started) / 1_000;
    const route = finished.route ?? UNMATCHED;
    if (finished.aborted) {
      this.#aborted.inc({ method, route });
      return;
    }
    const status = STATUS[finished.status] ?? String(finished.status);
    this.#duration.observe({ method, route, status_code: status }, seconds);
    if (this.#requestSize === undefined || this.#responseSize === undefined) return;
    const requestBytes = Number(finished.requestBytes ?? NaN);
    if (requestBytes >= 0) this.#requestSize.observe({ method, route }, requestBytes);
    const bytes = Number(finished.responseBytes ?? NaN);
    if (bytes >= 0) this.#responseSize.observe({ method, route }, bytes);
  }

  #gauge(method: string): BoundGauge {
    const known = this.#gauges.get(method);
    if (known !== undefined) return known;
    const bound = this.#inFlight.with({ method });
    this.#gauges.set(method, bound);
    return bound;
  }
}
