import type { MetricsSink } from '@xiaoke/core';
import type { ServiceView } from './service-view.ts';
import { compileFilter } from './snapshot.ts';

const STATUSES = ['healthy', 'degraded', 'unhealthy', 'unknown', 'starting', 'draining'] as const;
const EVERYTHING = compileFilter({ status: 'any' });

/** Reports how many instances of each known service there are, by status. */
export function measureInstances(
  sink: MetricsSink,
  views: () => readonly ServiceView[],
  signal: AbortSignal,
): void {
  sink.gauge({
    name: 'xiaoke_discovery_instances',
    help: 'Instances of a service that this process knows of, by their status.',
    labels: { target: String, status: STATUSES },
    signal,
    collect: (gauge) => {
      for (const view of views()) {
        const { instances } = view.snapshot(EVERYTHING);
        for (const status of STATUSES) {
          const count = instances.filter((instance) => instance.status === status).length;
          gauge.set({ target: view.service, status }, count);
        }
      }
    },
  });
}
