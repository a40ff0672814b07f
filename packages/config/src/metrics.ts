import { createHash } from 'node:crypto';
import type { CounterInstrument, GaugeInstrument, MetricsSink } from '@xiaoke/core';

/** How a reload of a source ended. */
export type ReloadOutcome = 'applied' | 'unchanged' | 'invalid' | 'error';

type SourceLabel = { readonly source: StringConstructor };

/** What is in force, as the metrics describe it. */
export interface ConfigFacts {
  readonly environment: string;
  /** Another object after every change. */
  readonly current: () => { readonly version: number };
  /** The values in force with their secrets masked. */
  readonly masked: () => unknown;
  /** Fires when the manager closes. */
  readonly signal: AbortSignal;
}

/** The numbers a manager reports. */
export class ConfigMetrics {
  readonly reloads: CounterInstrument<{ source: StringConstructor; outcome: readonly ReloadOutcome[] }>;
  readonly lastReloadSuccessful: GaugeInstrument<SourceLabel>;
  readonly lastReloadSuccess: GaugeInstrument<SourceLabel>;
  readonly rollbacks: CounterInstrument;
  readonly listenerErrors: CounterInstrument;
  readonly version: GaugeInstrument;

  constructor(sink: MetricsSink, facts: ConfigFacts) {
    this.reloads = sink.counter({
      name: 'xiaoke_config_reloads_total',
      help: 'Reloads of configuration sources, by how they ended.',
      labels: {
        source: String,
        outcome: ['applied', 'unchanged', 'invalid', 'error'] as readonly ReloadOutcome[],
      },
    });
    this.lastReloadSuccessful = sink.gauge({
      name: 'xiaoke_config_last_reload_successful',
      help: 'Whether the last reload of the source was applied (1) or refused (0).',
      labels: { source: String },
    });
    this.lastReloadSuccess = sink.gauge({
      name: 'xiaoke_config_last_reload_success_timestamp_seconds',
      help: 'When the source was last applied.',
      labels: { source: String },
    });
    const rollbacks = sink.counter({
      name: 'xiaoke_config_rollbacks_total',
      help: 'Rollbacks made by this process.',
    });
    const listenerErrors = sink.counter({
      name: 'xiaoke_config_listener_errors_total',
      help: 'Configuration callbacks that threw or rejected.',
    });
    const version = sink.gauge({
      name: 'xiaoke_config_version',
      help: 'The run-time version in force.',
    });
    // Through locals, so that each has the type of its own definition.
    this.rollbacks = rollbacks;
    this.listenerErrors = listenerErrors;
    this.version = version;
    describe(sink, facts);
  }
}

const HASH_DIGITS = 12;

// Instances that ought to agree and do not differ in the hash. It is of the masked values: nothing can be guessed from it.
function describe(sink: MetricsSink, { environment, current, masked, signal }: ConfigFacts): void {
  let described: object | undefined;
  let last: { readonly version: string; readonly hash: string; readonly environment: string } | undefined;
  sink.gauge({
    name: 'xiaoke_config_info',
    help: 'The configuration in force; always 1.',
    labels: { version: String, hash: String, environment: String },
    signal,
    collect: (info) => {
      const now = current();
      if (now === described) return;
      if (last !== undefined) info.remove(last);
      const hash = createHash('sha256').update(JSON.stringify(masked())).digest('hex').slice(0, HASH_DIGITS);
      last = { version: String(now.version), hash, environment };
      described = now;
      info.set(last, 1);
    },
  });
}
