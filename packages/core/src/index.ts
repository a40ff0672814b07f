/**
 * The leaf every `@xiaoke` package stands on: durations, coded errors, time, waiting, isolated callbacks and events,
 * decorators, and the three interfaces through which packages are observed. No dependency, no I/O.
 *
 * Terms: a *duration* is milliseconds or a string with a unit; a *sink* takes metrics; an *indicator* tells health;
 * a *key template* makes a key from the arguments of a call.
 *
 * @module
 */
export { toMilliseconds, type Duration, type DurationBounds } from './duration.ts';
export { InvalidOptionError, TimeoutError, XiaokeError, type XiaokeErrorOptions } from './errors.ts';
export { NonRetryableError, RetryLaterError } from './retry-errors.ts';
export { systemClock, systemRandom, type Clock, type Random, type Timer } from './clock.ts';
export { abortable, onAbort, sleep, withTimeout, type WaitOptions } from './wait.ts';
export { silentLogger, type LogFunction, type Logger } from './logger.ts';
export {
  noopMetrics,
  type BoundCounter,
  type BoundGauge,
  type BoundHistogram,
  type CounterInstrument,
  type GaugeDefinition,
  type GaugeInstrument,
  type HistogramDefinition,
  type HistogramInstrument,
  type LabelDefinitions,
  type LabelValues,
  type MetricDefinition,
  type MetricsSink,
  type NoLabels,
} from './metrics-sink.ts';
export type { HealthIndication, HealthIndicator, HealthStatus } from './health-indicator.ts';
export type { Closeable, CloseOptions } from './closeable.ts';
export {
  issuePath,
  type SchemaInput,
  type SchemaIssue,
  type SchemaOutput,
  type SchemaResult,
  type StandardSchemaV1,
} from './standard-schema.ts';
export { compileKeyTemplate, KeyTemplateError, type KeyRenderer, type KeyTemplate } from './key-template.ts';
export {
  createDecorator,
  type DecoratedFunction,
  type DecoratedInfo,
  type Decorator,
  type UnknownFunction,
} from './decorator.ts';
export { IsolatedEmitter, type EmitterOptions, type EventMap, type WithError } from './emitter.ts';
export { CallbackSet, type CallbackOptions } from './callbacks.ts';
export { Background, runInBackground, type BackgroundOptions } from './background.ts';
export { TransientMap } from './transient-map.ts';
export { processWide, processWideSync, type Closable } from './process-wide.ts';
export type { RedisOption } from './redis/redis-like.ts';
