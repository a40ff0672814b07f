import type { BoundCounter, BoundHistogram, HealthStatus, MetricsSink } from '@xiaoke/core';
import type { CheckRecord } from './snapshot.ts';

const STATUSES = ['healthy', 'degraded', 'unhealthy', 'unknown'] as const;

/** What the gauges are filled from. */
export interface MeasuredChecks {
  list(): Iterable<{
    readonly name: string;
    readonly critical: boolean;
    readonly status: HealthStatus;
    readonly checkedAt: number | undefined;
  }>;
  overall(): HealthStatus;
}

/** Reports checks to a metrics sink, under the names of the suite. */
export class HealthMetrics {
  readonly #duration;
  readonly #checks;
  readonly #changes;
  /** Bound once: a run then costs no label objects. */
  readonly #bound = new Map<string, BoundRun>();

  constructor(sink: MetricsSink, measured: MeasuredChecks, closing: AbortSignal) {
    this.#duration = sink.histogram({
      name: 'xiaoke_health_check_duration_seconds',
      help: 'Time one run of a health check took.',
      labels: { check: String },
    });
    this.#checks = sink.counter({
      name: 'xiaoke_health_checks_total',
      help: 'Runs of health checks, by what they found.',
      labels: { check: String, outcome: STATUSES },
    });
    this.#changes = sink.counter({
      name: 'xiaoke_health_status_changes_total',
      help: 'Changes of the status of a check.',
      labels: { check: String, to: STATUSES },
    });
    gauges(sink, measured, closing);
  }

  /** Makes the series of a check, at 0: a rate then sees its first event. */
  register(check: string): void {
    this.#bind(check);
    for (const to of STATUSES) this.#changes.with({ check, to });
  }

  ran(check: string, { durationMs, status }: CheckRecord): void {
    const bound = this.#bound.get(check) ?? this.#bind(check);
    bound.duration.observe(durationMs / 1_000);
    bound.runs[status].inc();
  }

  /** Forgets the check's bound instruments; what they counted stays. */
  forget(check: string): void {
    this.#bound.delete(check);
  }

  changed(check: string, to: HealthStatus): void {
    this.#changes.inc({ check, to });
  }

  #bind(check: string): BoundRun {
    const runs = Object.fromEntries(
      STATUSES.map((outcome) => [outcome, this.#checks.with({ check, outcome })]),
    ) as Record<HealthStatus, BoundCounter>;
    const bound = { duration: this.#duration.with({ check }), runs };
    this.#bound.set(check, bound);
    return bound;
  }
}

interface BoundRun {
  readonly duration: BoundHistogram;
  readonly runs: Readonly<Record<HealthStatus, BoundCounter>>;
}

function gauges(sink: MetricsSink, measured: MeasuredChecks, signal: AbortSignal): void {
  sink.gauge({
    name: 'xiaoke_health_status',
    help: '1 for the status a check has now, 0 for the others.',
    labels: { check: String, critical: ['true', 'false'], status: STATUSES },
    signal,
    collect: (gauge) => {
      for (const { name, critical, status } of measured.list()) {
        for (const each of STATUSES) {
          gauge.set(
            { check: name, critical: critical ? 'true' : 'false', status: each },
            each === status ? 1 : 0,
          );
        }
      }
    },
  });
  sink.gauge({
    name: 'xiaoke_health_service_status',
    help: '1 for the overall status, 0 for the others.',
    labels: { status: STATUSES },
    signal,
    collect: (gauge) => {
      const overall = measured.overall();
      for (const each of STATUSES) gauge.set({ status: each }, each === overall ? 1 : 0);
    },
  });
  sink.gauge({
    name: 'xiaoke_health_last_check_timestamp_seconds',
    help: 'When the last run of a check ended.',
    labels: { check: String },
    signal,
    collect: (gauge) => {
      for (const { name, checkedAt } of measured.list())
        if (checkedAt !== undefined) gauge.set({ check: name }, checkedAt / 1_000);
    },
  });
}
