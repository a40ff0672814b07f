import type { HealthStatus } from '@xiaoke/core';
import type { CheckOutcome } from './check-result.ts';
import { FlapDetector } from './flap-detector.ts';
import type { ResolvedConfig } from './options.ts';

const FLAPPING: CheckOutcome = Object.freeze({ status: 'degraded', code: 'FLAPPING' });
/** So many failures more than the threshold are no back and forth. */
const STEADY = 3;

/**
 * What the results of one check come to: a first result counts at once, later ones must repeat themselves as often as the
 * thresholds say.
 */
export class CheckState {
  readonly #config: Pick<ResolvedConfig, 'failureThreshold' | 'successThreshold' | 'flapDetection'>;
  readonly #flaps = new FlapDetector();
  #settled: CheckOutcome = { status: 'unknown', code: 'NOT_CHECKED' };
  #failures = 0;
  #successes = 0;

  constructor(config: Pick<ResolvedConfig, 'failureThreshold' | 'successThreshold' | 'flapDetection'>) {
    this.#config = config;
  }

  get consecutiveFailures(): number {
    return this.#failures;
  }

  get flapping(): boolean {
    return this.#config.flapDetection && this.#flaps.flapping;
  }

  /**
   * The status after thresholds and flap detection, before age and parents. What keeps changing is held at `degraded`, so
   * that nobody is told of every change; once it fails several times more than the threshold it is simply down.
   */
  get outcome(): CheckOutcome {
    if (!this.flapping) return this.#settled;
    const down = this.#settled.status === 'unhealthy';
    return down && this.#failures >= this.#config.failureThreshold + STEADY ? this.#settled : FLAPPING;
  }

  /** Takes in the outcome of a run. Returns whether flapping began. */
  add(outcome: CheckOutcome): boolean {
    const well = isWell(outcome.status);
    this.#failures = well ? 0 : this.#failures + 1;
    this.#successes = well ? this.#successes + 1 : 0;
    const before = this.#settled.status;
    if (before === 'unknown' || isWell(before) === well) this.#settled = outcome;
    else if (well && this.#successes >= this.#config.successThreshold) this.#settled = outcome;
    else if (!well && this.#failures >= this.#config.failureThreshold) this.#settled = outcome;
    return this.#flaps.add(well) && this.#config.flapDetection;
  }
}

function isWell(status: HealthStatus): boolean {
  return status === 'healthy' || status === 'degraded';
}
