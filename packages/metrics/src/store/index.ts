/**
 * Remembers metrics in tiers of resolution and answers PromQL over them.
 *
 * Terms: a *tier* is a step and how long it is kept; a *slot* is one step of a tier's grid; a *chunk* is a stretch of one
 * series' slots, sealed when full; a *storage* keeps sealed chunks.
 *
 * @module
 */
export { createTimeSeriesStore } from './default-store.ts';
export type {
  ExemplarSeries,
  PrometheusRange,
  QueryInstant,
  QueryRange,
  StoreStats,
  TimeSeriesStore,
} from './store.ts';
export type { StorageOption, Tier, TimeSeriesStoreOptions } from './options.ts';
export type { IncomingSample } from './sampler.ts';
export { memoryStorage } from './memory/memory-storage.ts';
export { fileStorage, type FileStorageOptions } from './file/file-storage.ts';
export { redisStorage, type RedisStorageOptions } from './redis/redis-storage.ts';
export type {
  ChunkAddress,
  ChunkHandle,
  ChunkStorage,
  NewChunk,
  SeriesKind,
  StoredChunk,
} from './chunk-storage.ts';
export type { ApiOptions, ApiRequest, ApiResponse, AsyncHandler, RuleSource } from './http-api.ts';
export { Query, type Point, type QueryResult, type ResultSeries } from './promql/query.ts';
export type { DataSource, Labels, SeriesData } from './promql/values.ts';
export type { Expr, Grouping, Matcher, TimeShift, ValueType } from './promql/ast.ts';
export type { EvaluationOptions, EvaluationTimes } from './promql/evaluate.ts';
