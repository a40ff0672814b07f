import type { Instance } from '../instance.ts';

/** What scores are compared under. */
export interface Climate {
  /** How fast a latency is forgotten under load, in milliseconds. */
  readonly tauMs: number;
  readonly errorPenaltyMs: number;
  /** Calls so far, over all instances. */
  picks: number;
  /** Calls under way, over all instances. */
  inflight: number;
  /** By how much, at most, this process notices too late what has happened, in milliseconds. */
  doubtMs: number;
  /** What a call usually takes, in milliseconds: the median over all instances, so that a slow one does not move it. */
  typicalMs: number;
}

/** Under little load things are forgotten by the calls that went by rather than by time: this many are one `tau`. */
const PICKS_PER_TAU = 300;
/** But in the end time alone will do, in milliseconds. */
const LONG_TAU = 30_000;
/** How much one faster call weighs at least: a single slow one is lived down in about ten. */
const STEP = 0.1;
const MEDIAN_STEP = 0.02;
const SUCCESS_STEP = 0.1;
/** An error counts as this many usual calls at least. */
const ERROR_FACTOR = 10;
const MIN_MS = 0.01;

/**
 * One instance as a balancer sees it: how long its calls take, how many are under way, how many fail.
 *
 * The latency is a peak-sensitive average (Finagle's Peak EWMA): a slower call counts at once and in full, faster ones only
 * bring it down gradually. An error counts as a slow call, or whoever fails fastest would look best. What is not called is
 * forgotten towards what is usual, never below, so that it is tried again but not flooded.
 */
export class Target {
  instance: Instance;
  /** Calls under way. */
  inflight = 0;
  /** Relative to the mean of those it is compared with. */
  weight = 1;
  /** More than 1 while it is degraded. */
  handicap = 1;
  readonly addedAt: number;
  /** Whether it is new and gets less at first. */
  warming: boolean;
  picks = 0;
  errors = 0;
  /** Since when it is left out; `undefined` while it is not. */
  ejectedAt: number | undefined = undefined;
  ejections = 0;
  ejectedAtPick = 0;
  probing = false;
  consecutiveErrors = 0;
  /** Two buckets of half a window: those before, and those now. */
  windowStart: number;
  windowCalls = 0;
  windowErrors = 0;
  lastCalls = 0;
  lastErrors = 0;
  #costMs: number | undefined = undefined;
  #success = 1;
  #updatedAt: number;
  #updatedPick: number;
  /** The sum of the starts of the calls under way: their mean age needs no list. */
  #startSum = 0;

  constructor(instance: Instance, now: number, climate: Climate, warming: boolean) {
    this.instance = instance;
    this.addedAt = now;
    this.windowStart = now;
    this.warming = warming;
    this.#updatedAt = now;
    this.#updatedPick = climate.picks;
  }

  begin(now: number): void {
    this.inflight += 1;
    this.picks += 1;
    this.#startSum += now;
  }

  end(start: number): void {
    this.inflight -= 1;
    this.#startSum -= start;
    // Sums of fractions drift; with nothing under way the sum is known.
    if (this.inflight === 0) this.#startSum = 0;
  }

  /** Lower is better. */
  score(now: number, climate: Climate): number {
    const left = Math.exp(-this.#forgotten(now, climate));
    const success = 1 - (1 - this.#success) * left;
    let cost = this.#estimate(left, climate);
    if (this.inflight > 0) {
      // Calls that have been under way for longer already say more than what was measured.
      const pending = now - climate.doubtMs - this.#startSum / this.inflight;
      if (pending > cost) cost = pending;
    }
    return (((cost + MIN_MS) * (1 + this.inflight / this.weight)) / (success * success)) * this.handicap;
  }

  /** Learns from a call that ended. Where it is in doubt when its answer came, it says no more than it must. */
  learn(now: number, durationMs: number, ok: boolean, climate: Climate): void {
    const left = Math.exp(-this.#forgotten(now, climate));
    const estimate = this.#estimate(left, climate);
    const penalty = Math.max(climate.errorPenaltyMs, ERROR_FACTOR * climate.typicalMs);
    const least = Math.max(0, durationMs - climate.doubtMs);
    const seen = ok ? within(estimate, least, durationMs) : Math.max(least, penalty);
    const step = Math.max(STEP, 1 - left);
    // The first call says all there is to know.
    if (this.#costMs === undefined || seen > estimate) this.#costMs = seen;
    else this.#costMs = estimate + (seen - estimate) * step;
    const healed = 1 - (1 - this.#success) * left;
    this.#success = healed + ((ok ? 1 : 0) - healed) * Math.max(SUCCESS_STEP, ok ? 1 - left : 0);
    this.#updatedAt = now;
    this.#updatedPick = climate.picks;
    if (ok) approachMedian(climate, within(climate.typicalMs, least, durationMs));
  }

  /** Forgets what was bad: what is readmitted begins anew. */
  pardon(now: number, climate: Climate): void {
    this.#costMs = undefined;
    this.#success = 1;
    this.#updatedAt = now;
    this.#updatedPick = climate.picks;
    this.consecutiveErrors = 0;
    this.windowCalls = 0;
    this.windowErrors = 0;
    this.lastCalls = 0;
    this.lastErrors = 0;
  }

  /** What a call takes as of now, in milliseconds, and the share that succeeds. */
  measured(now: number, climate: Climate): { readonly ewmaMs: number; readonly successRate: number } {
    const left = Math.exp(-this.#forgotten(now, climate));
    return { ewmaMs: this.#estimate(left, climate), successRate: 1 - (1 - this.#success) * left };
  }

  #forgotten(now: number, { tauMs, picks }: Climate): number {
    const elapsed = now - this.#updatedAt;
    const byPicks = (picks - this.#updatedPick) / PICKS_PER_TAU;
    const underLoad = Math.min(elapsed / tauMs, byPicks);
    return Math.max(underLoad, elapsed / Math.max(LONG_TAU, tauMs));
  }

  #estimate(left: number, { typicalMs }: Climate): number {
    return this.#costMs === undefined ? typicalMs : typicalMs + (this.#costMs - typicalMs) * left;
  }
}

/** The score of an instance that is as fast as most of `count`, never fails, and has its share of the calls under way. */
export function usualScore({ typicalMs, inflight }: Climate, count: number): number {
  return (typicalMs + MIN_MS) * (1 + inflight / count);
}

/** A step towards each value, whatever its distance: as many steps up as down are the median. */
function approachMedian(climate: Climate, durationMs: number): void {
  if (durationMs === climate.typicalMs) return;
  if (climate.typicalMs === 0) climate.typicalMs = durationMs;
  else climate.typicalMs *= durationMs > climate.typicalMs ? 1 + MEDIAN_STEP : 1 - MEDIAN_STEP;
}

/** What a range says to who expects `value`: the nearest in it. */
function within(value: number, least: number, most: number): number {
  return Math.min(most, Math.max(least, value));
}
