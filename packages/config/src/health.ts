import type { HealthIndicator, HealthStatus } from '@xiaoke/core';
import type { ConfigState } from './status.ts';
import type { Updates } from './updates.ts';

const STATUS: Readonly<Record<ConfigState, HealthStatus>> = {
  starting: 'unhealthy',
  ready: 'healthy',
  stale: 'degraded',
  degraded: 'degraded',
  closed: 'unknown',
};

/** What `@xiaoke/health` asks: answered from memory, since sources are watched all the time. */
export function indicatorOf(updates: Updates): HealthIndicator {
  return {
    name: 'config',
    check: async () => {
      const { state } = updates;
      if (state === 'ready') return { status: 'healthy' };
      const problem = updates.engine.slots.find((slot) => slot.problem !== undefined)?.problem;
      return { status: STATUS[state], code: problem?.code ?? `CONFIG_${state.toUpperCase()}` };
    },
  };
}
