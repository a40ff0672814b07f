import type { LimitSample } from './limit-algorithms.ts';

/**
 * Gathers calls into samples. A window lasts at least `duration` and holds at least `minCalls` calls: shorter ones see the
 * fast calls of their time only, since the slow ones are still running, and shrink a limit before there is any trouble.
 */
export class LimitWindow {
  readonly #duration: number;
  readonly #minCalls: number;
  #begun = -1;
  #calls = 0;
  #totalMs = 0;
  #inFlight = 0;
  #dropped = false;

  constructor(duration: number, minCalls: number) {
    this.#duration = duration;
    this.#minCalls = minCalls;
  }

  succeeded(latencyMs: number, inFlight: number): void {
    this.#calls += 1;
    this.#totalMs += latencyMs;
    if (inFlight > this.#inFlight) this.#inFlight = inFlight;
  }

  dropped(inFlight: number): void {
    this.#dropped = true;
    if (inFlight > this.#inFlight) this.#inFlight = inFlight;
  }

  /** The sample of the window that is complete at `now`, if it is; then the next begins. */
  take(now: number): LimitSample | undefined {
    if (this.#begun < 0) this.#begun = now;
    if (now - this.#begun < this.#duration || (this.#calls < this.#minCalls && !this.#dropped))
      return undefined;
    const sample: LimitSample = {
      latencyMs: this.#calls === 0 ? 0 : this.#totalMs / this.#calls,
      inFlight: this.#inFlight,
      dropped: this.#dropped,
      calls: this.#calls,
    };
    this.#begun = now;
    this.#calls = 0;
    this.#totalMs = 0;
    this.#inFlight = 0;
    this.#dropped = false;
    return sample;
  }
}
