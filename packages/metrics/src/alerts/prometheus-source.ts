import { InvalidOptionError, toMilliseconds, type Duration } from '@xiaoke/core';
import { MetricsError } from '../errors.ts';
import { checkEndpoint, type Endpoint } from '../push/post.ts';
import type { Point, QueryResult, ResultSeries } from '../store/promql/query.ts';
import type { AlertSource } from './alert-manager.ts';

/** How a Prometheus is asked. */
export interface PrometheusSourceOptions {
  readonly headers?: Readonly<Record<string, string>>;
  /** How long one question may take. @default '10s' */
  readonly timeout?: Duration;
}

type Sample = readonly [seconds: number, value: string];

interface Answer {
  readonly status: string;
  readonly error?: string;
  readonly data?: { readonly resultType: string; readonly result: unknown };
}

class PrometheusSource implements AlertSource {
  readonly #endpoint: Endpoint;
  readonly #timeout: number;

  constructor(url: string, options: PrometheusSourceOptions) {
    this.#endpoint = checkEndpoint(url, options.headers);
    this.#timeout = toMilliseconds(options.timeout ?? '10s', 'timeout', { min: 1 });
  }

  async query(promql: string, at: { readonly time: number }): Promise<QueryResult> {
    const { url, headers } = this.#endpoint;
    const body = new URLSearchParams({ query: promql, time: String(at.time / 1_000) });
    let answer: Answer;
    try {
      const signal = AbortSignal.timeout(this.#timeout);
      const target = `${url.replace(/\/+$/, '')}/api/v1/query`;
      const response = await fetch(target, { method: 'POST', body, headers: { ...headers }, signal });
      answer = (await response.json()) as Answer;
    } catch {
      throw new MetricsError('PROMQL_EVALUATION', 'Prometheus did not answer');
    }
    if (answer.status !== 'success' || answer.data === undefined)
      throw new MetricsError(
        'PROMQL_EVALUATION',
        `Prometheus refused: ${String(answer.error).slice(0, 200)}`,
      );
    return resultOf(answer.data, at.time);
  }
}

function resultOf({ resultType, result }: NonNullable<Answer['data']>, time: number): QueryResult {
  if (resultType === 'scalar') return { type: 'scalar', point: pointOf(result as Sample) };
  if (resultType === 'string') return { type: 'string', time, value: (result as Sample)[1] };
  const series = result as readonly {
    readonly metric: Readonly<Record<string, string>>;
    readonly value?: Sample;
    readonly values?: readonly Sample[];
  }[];
  const all = series.map(({ metric, value, values = [] }): ResultSeries => ({
    labels: metric,
    points: (value === undefined ? values : [value]).map(pointOf),
  }));
  return { type: resultType === 'matrix' ? 'matrix' : 'vector', series: all };
}

function pointOf([seconds, text]: Sample): Point {
  return [seconds * 1_000, Number(text.replace('Inf', 'Infinity'))];
}

/**
 * Evaluates rules over the samples of a Prometheus, Thanos, Mimir or VictoriaMetrics instead of the embedded store.
 * Recording rules are left to it: export them with `toPrometheusRules()`.
 *
 * @throws `INVALID_OPTION`
 * @example
 * ```ts
 * import { createAlertManager, defaultRules, prometheusSource } from '@xiaoke/metrics/alerts';
 * const alerts = createAlertManager({ rules: defaultRules(), source: prometheusSource('http://localhost:9090') });
 * await alerts.close();
 * ```
 */
export function prometheusSource(url: string, options: PrometheusSourceOptions = {}): AlertSource {
  if (typeof url !== 'string') throw new InvalidOptionError('url', 'must be an http or https URL');
  return new PrometheusSource(url, options);
}
