/**
 * Pushes a collector's metrics to whoever does not scrape: a Prometheus-compatible database, an OpenTelemetry collector, a
 * Pushgateway.
 *
 * @module
 */
export { remoteWrite, type RemoteWriteOptions } from './remote-write.ts';
export { otlpHttp, type OtlpHttpOptions } from './otlp-http.ts';
export { pushgateway, type PushgatewayOptions } from './pushgateway.ts';
export type { BufferedPushOptions, Pusher, PushOptions, PushStats } from './pusher.ts';
