import type { HealthStatus } from '@xiaoke/core';
import type { CheckRecord, Uptime } from './snapshot.ts';

interface Transition {
  readonly at: number;
  readonly status: HealthStatus;
}

const MAX_TRANSITIONS = 256;

/** The last runs of one check, and the changes of its status, both bounded. */
export class History {
  readonly #records: CheckRecord[] = [];
  readonly #transitions: Transition[] = [];
  readonly #limit: number;
  #next = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  add(record: CheckRecord): void {
    this.#records[this.#next] = record;
    this.#next = (this.#next + 1) % this.#limit;
  }

  /** Notes that the status is `status` from `at` on. */
  changed(at: number, status: HealthStatus): void {
    this.#transitions.push({ at, status });
    if (this.#transitions.length > MAX_TRANSITIONS) this.#transitions.shift();
  }

  /** The oldest first. */
  records(): CheckRecord[] {
    return [...this.#records.slice(this.#next), ...this.#records.slice(0, this.#next)];
  }

  /** Weighted by time, not by samples: a check that fails quickly is looked at more often, and would count double. */
  uptime(now: number, windowMs: number): Uptime {
    const start = now - windowMs;
    let knownMs = 0;
    let downMs = 0;
    this.#transitions.forEach(({ at, status }, index) => {
      const until = this.#transitions[index + 1]?.at ?? now;
      const span = Math.min(until, now) - Math.max(at, start);
      if (span <= 0 || status === 'unknown') return;
      knownMs += span;
      if (status === 'unhealthy') downMs += span;
    });
    const recent = this.#records.filter(({ at }) => at >= start);
    return {
      ratio: knownMs === 0 ? undefined : 1 - downMs / knownMs,
      downMs,
      knownMs,
      samples: recent.length,
      latencyMs: percentiles(recent.map(({ durationMs }) => durationMs)),
    };
  }
}

function percentiles(values: readonly number[]): Uptime['latencyMs'] {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (q: number): number => sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? 0;
  return { p50: at(0.5), p95: at(0.95), p99: at(0.99), max: sorted.at(-1) ?? 0 };
}
