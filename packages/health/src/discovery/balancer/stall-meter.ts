import type { Clock, Timer } from '@xiaoke/core';

/** How often it is looked whether the event loop still turns, in milliseconds. */
const PERIOD = 10;
/** A timer may be late by this much without meaning anything. */
const TOLERANCE = 2;

/**
 * For how long this process itself stood still just now: its event loop was blocked, or the machine had no time for it. What
 * arrives meanwhile is noticed late, and says nothing about who sent it.
 *
 * It looks only while somebody measures, and keeps no process alive.
 */
export class StallMeter {
  readonly #clock: Clock;
  readonly #tick = (): void => this.#look();
  #timer: Timer | undefined;
  #measuring = 0;
  #turnedAt = 0;
  /** Since when nothing was noticed before it turned last; that time itself when it was in time. */
  #deafSince = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Something is measured from now on. */
  enter(now: number): void {
    this.#measuring += 1;
    if (this.#timer !== undefined) return;
    this.#turnedAt = now;
    this.#deafSince = now;
    this.#timer = this.#clock.setInterval(this.#tick, PERIOD);
    this.#timer.unref();
  }

  /** And no longer. */
  leave(): void {
    this.#measuring -= 1;
  }

  /** By how much, at most, what is noticed now was there before, in milliseconds: 0 while the loop turns. */
  doubt(now: number): number {
    if (this.#timer === undefined) return 0;
    if (this.#deafSince < this.#turnedAt) return now - this.#deafSince;
    const since = now - this.#turnedAt;
    return since > PERIOD + TOLERANCE ? since : 0;
  }

  close(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  // What arrived before one turn was noticed before the next.
  #look(): void {
    const now = this.#clock.monotonic();
    this.#deafSince = now - this.#turnedAt > PERIOD + TOLERANCE ? this.#turnedAt : now;
    this.#turnedAt = now;
    if (this.#measuring === 0) this.close();
  }
}
