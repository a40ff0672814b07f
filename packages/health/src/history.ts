import type { HealthStatus } from '@xiaoke/core';
import type { CheckRecord, Uptime } from './snapshot.ts';

interface Transition {
  readonly at: number;
  readonly status: HealthStatus;
}

const MAX_TRANSITIONS = 256;
const STATUSES: readonly HealthStatus[] = ['healthy', 'degraded', 'unhealthy', 'unknown'];

/**
 * The last runs of one check, and the changes of its status, both bounded. Runs are kept in columns: as objects they would
 * live just long enough to be copied by every collection.
 */
export class History {
  readonly #limit: number;
  readonly #ats: Float64Array;
  readonly #durations: Float64Array;
  readonly #statuses: Uint8Array;
  readonly #codes: (string | undefined)[];
  readonly #transitions: Transition[] = [];
  #next = 0;
  #size = 0;

  constructor(limit: number) {
    this.#limit = limit;
    this.#ats = new Float64Array(limit);
    this.#durations = new Float64Array(limit);
    this.#statuses = new Uint8Array(limit);
    this.#codes = Array.from({ length: limit }, () => undefined);
  }

  add({ at, durationMs, status, code }: CheckRecord): void {
    const index = this.#next;
    this.#ats[index] = at;
    this.#durations[index] = durationMs;
    this.#statuses[index] = STATUSES.indexOf(status);
    this.#codes[index] = code;
    this.#next = (index + 1) % this.#limit;
    if (this.#size < this.#limit) this.#size += 1;
  }

  /** Notes that the status is `status` from `at` on. */
  changed(at: number, status: HealthStatus): void {
    this.#transitions.push({ at, status });
    if (this.#transitions.length > MAX_TRANSITIONS) this.#transitions.shift();
  }

  /** The oldest first. */
  records(): CheckRecord[] {
    const oldest = this.#size < this.#limit ? 0 : this.#next;
    return Array.from({ length: this.#size }, (_, step) => {
      const index = (oldest + step) % this.#limit;
      return {
        at: this.#ats[index] ?? 0,
        durationMs: this.#durations[index] ?? 0,
        status: STATUSES[this.#statuses[index] ?? 3] ?? 'unknown',
        code: this.#codes[index],
      };
    });
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
    const recent = this.records().filter(({ at }) => at >= start);
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
