import {
  InvalidOptionError,
  silentLogger,
  systemClock,
  toMilliseconds,
  type Clock,
  type Duration,
  type Logger,
} from '@xiaoke/core';
import promClient, { type Registry } from 'prom-client';
import type { ExemplarLabels } from './instruments/exemplars.ts';
import { checkLabelName } from './names.ts';

/** How a collector behaves. */
export interface MetricsCollectorOptions {
  /** Put in front of every name. @default '' */
  readonly prefix?: string;
  /** On every series of this collector, such as `service`. */
  readonly constLabels?: Readonly<Record<string, string>>;
  /** The prom-client registry that our instruments appear in, and whose stock metrics appear in our output. @default a new one */
  readonly registry?: Registry;
  readonly limits?: {
    /** Label sets of one metric; what comes after goes to one overflow series. @default 2000 */
    readonly seriesPerMetric?: number;
  };
  /** What a value or label that cannot be recorded does: `count` it, or `throw`, which suits tests. @default 'count' */
  readonly invalid?: 'count' | 'throw';
  /** Where exemplars come from: the active OpenTelemetry span, a function, or nowhere. @default true */
  readonly exemplars?: boolean | (() => ExemplarLabels | undefined);
  /** How long one `collect` may take before the scrape goes on without it. @default '500ms' */
  readonly collectTimeout?: Duration;
  /** Report on the collector itself, as `xiaoke_metrics_*`. @default true */
  readonly selfMetrics?: boolean;
  readonly logger?: Logger;
  readonly clock?: Clock;
}

/** Options with every default in place. */
export interface ResolvedOptions {
  readonly prefix: string;
  readonly constLabels: Readonly<Record<string, string>>;
  readonly registry: Registry;
  readonly limit: number;
  readonly invalid: 'count' | 'throw';
  readonly exemplars: boolean | (() => ExemplarLabels | undefined);
  readonly collectTimeout: number;
  readonly selfMetrics: boolean;
  readonly logger: Logger;
  readonly clock: Clock;
}

const DEFAULTS = { exemplars: true, selfMetrics: true, logger: silentLogger, clock: systemClock } as const;

/** Checks options once and fills in what was left out. */
export function resolveOptions(options: MetricsCollectorOptions): ResolvedOptions {
  const { prefix = '', constLabels = {}, invalid = 'count' } = options;
  const limit = options.limits?.seriesPerMetric ?? 2_000;
  if (typeof prefix !== 'string' || !/^([a-zA-Z_:][a-zA-Z0-9_:]*)?$/.test(prefix)) {
    throw new InvalidOptionError('prefix', 'must be empty or the start of a metric name');
  }
  if (invalid !== 'count' && invalid !== 'throw') {
    throw new InvalidOptionError('invalid', "must be 'count' or 'throw'");
  }
  if (!Number.isInteger(limit) || limit < 1) {
    throw new InvalidOptionError('limits.seriesPerMetric', 'must be a whole number from 1');
  }
  checkConstLabels(constLabels);
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
  return Object.freeze({
    ...DEFAULTS,
    ...given,
    prefix,
    constLabels: Object.freeze({ ...constLabels }),
    registry: checkRegistry(options.registry ?? new promClient.Registry()),
    limit,
    invalid,
    collectTimeout: toMilliseconds(options.collectTimeout ?? '500ms', 'collectTimeout', { min: 1 }),
  });
}

function checkConstLabels(labels: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(labels)) {
    checkLabelName(name, `constLabels.${name}`, ['le', 'quantile']);
    if (typeof value !== 'string') throw new InvalidOptionError(`constLabels.${name}`, 'must be a string');
  }
}

// By shape, since the successor package @prometheus-io/client has a Registry of its own.
function checkRegistry(registry: Registry): Registry {
  const methods = ['registerMetric', 'getSingleMetric', 'getMetricsAsArray', 'removeSingleMetric'] as const;
  if (!methods.every((method) => typeof registry[method] === 'function')) {
    throw new InvalidOptionError('registry', 'must be a prom-client Registry');
  }
  return registry;
}
