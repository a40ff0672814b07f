import { InvalidOptionError, type LabelDefinitions, type LabelValues, type NoLabels } from '@xiaoke/core';
import type { BoundCounter, BoundGauge, BoundHistogram } from '@xiaoke/core';

/** How an operation ended. */
export type Outcome = 'ok' | 'error' | 'rejected';

/** A service level objective. */
export interface SloDefinition {
  /** The share of operations that must not fail, such as 0.995. Rejected ones do not count. */
  readonly objective: number;
  /** Also, the share that must finish within `threshold` seconds. */
  readonly latency?: { readonly threshold: number; readonly objective: number };
}

/** How a business operation is measured. */
export interface OperationOptions<L extends LabelDefinitions = NoLabels> {
  readonly labels?: L;
  readonly help?: string;
  /** Seconds. @default prom-client's, with the latency threshold added */
  readonly buckets?: readonly number[];
  readonly slo?: SloDefinition;
  /** What an error means: the caller's fault (`rejected`) or ours. @default every error is `error` */
  readonly classify?: (error: unknown) => Outcome;
}

/** One run that is under way. */
export interface RunningOperation {
  /** Ends it; only the first call counts. Returns the seconds it took. */
  end(outcome?: Outcome): number;
}

/** A business operation: counted by outcome, timed, and counted while in progress. */
export interface Operation<L extends LabelDefinitions = NoLabels> {
  /** Runs `fn`, measures it, and settles as it does. */
  run<T>(...args: RunArguments<L, T>): Promise<T>;
  /** For what is not one function call. */
  start(...args: [keyof L] extends [never] ? [] : [labels: LabelValues<L>]): RunningOperation;
  /** The objective, for the alert rules (`sloRules`). */
  readonly slo: SloDefinition | undefined;
  readonly name: string;
}

type RunArguments<L extends LabelDefinitions, T> =
  | [labels: LabelValues<L>, fn: () => T | PromiseLike<T>]
  | ([keyof L] extends [never] ? [fn: () => T | PromiseLike<T>] : never);

/** The three instruments behind an operation, by label values. */
export interface OperationInstruments {
  processed(labels: Readonly<Record<string, string>>, outcome: Outcome): BoundCounter;
  duration(labels: Readonly<Record<string, string>>): BoundHistogram;
  inProgress(labels: Readonly<Record<string, string>>): BoundGauge;
}

/** Puts an operation together. */
export function makeOperation<L extends LabelDefinitions>(
  name: string,
  options: OperationOptions<L>,
  instruments: OperationInstruments,
): Operation<L> {
  const { classify = () => 'error' } = options;
  const start = (labels: Readonly<Record<string, string>> = {}): RunningOperation => {
    const started = performance.now();
    const inProgress = instruments.inProgress(labels);
    inProgress.inc();
    let seconds: number | undefined;
    return {
      end(outcome = 'ok') {
        if (seconds !== undefined) return seconds;
        seconds = (performance.now() - started) / 1_000;
        inProgress.dec();
        instruments.processed(labels, outcome).inc();
        // A refusal is quick and says nothing about how long the work takes.
        if (outcome !== 'rejected') instruments.duration(labels).observe(seconds);
        return seconds;
      },
    };
  };
  const run = async (...args: readonly unknown[]): Promise<unknown> => {
    const [labels, fn] = args.length > 1 ? args : [{}, args[0]];
    if (typeof fn !== 'function') throw new InvalidOptionError('fn', 'must be a function');
    const running = start(labels as Record<string, string>);
    try {
      const result: unknown = await fn();
      running.end('ok');
      return result;
    } catch (error) {
      running.end(classify(error));
      throw error;
    }
  };
  return { name, slo: options.slo, run: run as Operation<L>['run'], start };
}

/** What the duration of an operation is called: of one, where the operation's name is that of many. */
export function durationName(name: string): string {
  if (name.endsWith('ies')) return `${name.slice(0, -3)}y_duration_seconds`;
  return `${/[^sui]s$/.test(name) ? name.slice(0, -1) : name}_duration_seconds`;
}

/** Refuses an objective that cannot be met or missed. */
export function checkSlo(slo: SloDefinition | undefined): void {
  const share = (value: number, option: string): void => {
    if (!(value > 0 && value < 1)) throw new InvalidOptionError(option, 'must lie between 0 and 1');
  };
  if (slo === undefined) return;
  share(slo.objective, 'slo.objective');
  if (slo.latency === undefined) return;
  share(slo.latency.objective, 'slo.latency.objective');
  if (!(slo.latency.threshold > 0))
    throw new InvalidOptionError('slo.latency.threshold', 'must be positive seconds');
}
