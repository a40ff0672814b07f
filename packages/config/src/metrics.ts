import type { CounterInstrument, GaugeInstrument, MetricsSink } from '@xiaoke/core';

/** How a reload of a source ended. */
export type ReloadOutcome = 'applied' | 'unchanged' | 'invalid' | 'error';

type SourceLabel = { readonly source: StringConstructor };

/** The numbers a manager reports. */
export class ConfigMetrics {
  readonly reloads: CounterInstrument<{ source: StringConstructor; outcome: readonly ReloadOutcome[] }>;
  readonly lastReloadSuccessful: GaugeInstrument<SourceLabel>;
  readonly lastReloadSuccess: GaugeInstrument<SourceLabel>;
  readonly rollbacks: CounterInstrument;
  readonly listenerErrors: CounterInstrument;
  readonly version: GaugeInstrument;

  constructor(sink: MetricsSink) {
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
  }
}
