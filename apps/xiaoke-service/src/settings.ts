import { z } from 'zod';

// Under the keys of the original configuration a bare number is seconds; a text carries its unit.
const seconds = z.union([
  z
    .number()
    .nonnegative()
    .transform((value) => value * 1_000),
  z.string().regex(/^\d+(\.\d+)?(ms|s|m|h|d)$/, 'must be seconds or a text like 30s'),
]);
const duration = z.string().regex(/^\d+(\.\d+)?(ms|s|m|h|d)$/, 'must be a text like 250ms, 30s or 5m');
// An empty text, which is what ${VAR:-} leaves, means that nothing is set.
const optionalText = z.string().transform((text) => (text === '' ? undefined : text));

/** The whole configuration of the service. */
export const settingsSchema = z.object({
  service: z.object({
    port: z.coerce.number().int().min(0).max(65_535),
    host: z.string().min(1),
    degraded_mode: z.stringbool().or(z.boolean()),
    defer_for: duration,
    advertised_url: optionalText,
    database_url: optionalText,
    drain_delay: duration,
    shutdown_timeout: duration,
  }),
  messaging: z.object({
    queue_type: z.enum(['', 'redis', 'rabbitmq', 'memory']),
    redis: z.object({ url: optionalText }),
    rabbitmq: z.object({ url: optionalText }),
    workers: z.object({
      count: z.coerce.number().int().min(1).max(1_000),
      queues: z.array(z.string().min(1)).min(1),
      lease: seconds,
    }),
  }),
  distributed_lock: z.object({
    redis_url: optionalText,
    default_timeout: seconds,
    auto_extend: z.stringbool().or(z.boolean()),
  }),
  health_check: z.object({
    global: z.object({ enabled: z.stringbool().or(z.boolean()), check_interval: seconds }),
    database: z.object({ enabled: z.stringbool().or(z.boolean()) }),
    redis: z.object({ enabled: z.stringbool().or(z.boolean()) }),
  }),
  discovery: z.object({ redis_url: optionalText, ttl: duration }),
  dynamic_config: z.object({
    redis_url: optionalText,
    environment: z.string().min(1),
    max_versions: z.coerce.number().int().min(1).max(1_000),
  }),
  cache: z.object({
    redis_url: optionalText,
    strategy: z.enum(['lru', 'ttl', 'fifo', 'lfu', 'sieve', 's3fifo', 'w-tinylfu']),
    max_entries: z.coerce.number().int().min(1),
    ttl: duration,
    stale_for: duration,
  }),
  resilience: z.object({
    database: z.object({
      attempts: z.coerce.number().int().min(1).max(20),
      base_delay: duration,
      timeout: duration,
      failure_rate: z.coerce.number().gt(0).max(1),
      minimum_calls: z.coerce.number().int().min(1),
      open_for: duration,
    }),
  }),
  alerts: z.object({
    redis_url: optionalText,
    webhook_url: optionalText,
    alertmanager_url: optionalText,
    dingtalk_url: optionalText,
    feishu_url: optionalText,
    wecom_url: optionalText,
  }),
  metrics: z.object({
    runtime: z.stringbool().or(z.boolean()),
    store: z.object({ directory: optionalText }),
  }),
});

/** The configuration as the service uses it. */
export type Settings = z.output<typeof settingsSchema>;
