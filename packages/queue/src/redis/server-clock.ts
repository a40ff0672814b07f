import type { Clock } from '@xiaoke/core';

// Older than this, a better answer is no longer trusted: the server's clock may have been set.
const TRUSTED_MS = 60_000;

/**
 * The server's time between two of its answers. A process whose own clock is wrong must neither expire tasks nor plan
 * schedules by it, so the time goes on from the server's last word by the monotonic clock.
 */
export class ServerClock {
  readonly #clock: Clock;
  #offset: number | undefined;
  #heardAt = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Milliseconds since the epoch; this process's own time until the server has said anything. */
  now(): number {
    if (this.#offset === undefined) return this.#clock.now();
    return Math.floor(this.#clock.monotonic() + this.#offset);
  }

  /** The server said that it was `time`. An answer can only be late, so of several the latest time is the truest. */
  heard(time: number): void {
    const monotonic = this.#clock.monotonic();
    const offset = time - monotonic;
    if (this.#offset !== undefined && offset < this.#offset && monotonic - this.#heardAt < TRUSTED_MS) return;
    this.#offset = offset;
    this.#heardAt = monotonic;
  }
}
