import { XiaokeError } from '@xiaoke/core';

/**
 * The codes of the errors this package throws, beside `INVALID_OPTION`.
 *
 * - `METRIC_CONFLICT`: a name is defined twice with different shapes
 * - `INVALID_SAMPLE`: a label or a value that cannot be recorded (only with `invalid: 'throw'`)
 * - `PROMQL_SYNTAX`, `PROMQL_UNSUPPORTED`, `PROMQL_EVALUATION`: a query that cannot be answered
 * - `STORE_CLOSED`: the time-series store was closed; `STORE_LOCKED`: another process uses its directory
 * - `PUSH_FAILED`: a push that the receiver refused, or did not take in time
 */
export type MetricsErrorCode =
  | 'METRIC_CONFLICT'
  | 'INVALID_SAMPLE'
  | 'PROMQL_SYNTAX'
  | 'PROMQL_UNSUPPORTED'
  | 'PROMQL_EVALUATION'
  | 'STORE_CLOSED'
  | 'STORE_LOCKED'
  | 'PUSH_FAILED';

/** An error of this package; `code` says which. */
export class MetricsError extends XiaokeError {
  static override readonly brand: string = 'xiaoke.MetricsError';
  declare readonly code: MetricsErrorCode;

  constructor(
    code: MetricsErrorCode,
    message: string,
    options: { readonly cause?: unknown; readonly details?: Readonly<Record<string, unknown>> } = {},
  ) {
    super(code, message, options);
  }
}

/** One name, two shapes. The message names both places. */
export class MetricConflictError extends MetricsError {
  static override readonly brand: string = 'xiaoke.MetricConflictError';

  constructor(name: string, difference: string, sites: { readonly first: string; readonly second: string }) {
    super(
      'METRIC_CONFLICT',
      `Metric "${name}" is already defined with another ${difference}: first ${sites.first}, now ${sites.second}`,
      { details: { metric: name, difference, ...sites } },
    );
  }
}
