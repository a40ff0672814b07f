import type { Random } from '@xiaoke/core';
import type { ResolvedOutlier } from './options.ts';
import type { Target } from './target.ts';

/** How much an ejection is left to chance, so that callers do not try again in step. */
const JITTER = 0.1;

/**
 * Decides who is left out. After its time, or after enough calls went elsewhere, one call tries it: if that goes well it is
 * back, if not it is out again for longer.
 */
export class OutlierDetector {
  readonly #options: ResolvedOutlier;
  readonly #random: Random;

  constructor(options: ResolvedOutlier, random: Random) {
    this.#options = options;
    this.#random = random;
  }

  /** Counts the end of a call; returns whether the instance should be left out now. */
  count(target: Target, now: number, ok: boolean): boolean {
    const { consecutive, failureRatio, minRequests, windowMs } = this.#options;
    this.#turn(target, now, windowMs / 2);
    target.windowCalls += 1;
    if (ok) {
      target.consecutiveErrors = 0;
      return false;
    }
    target.windowErrors += 1;
    target.consecutiveErrors += 1;
    if (target.consecutiveErrors >= consecutive) return true;
    const calls = target.windowCalls + target.lastCalls;
    return calls >= minRequests && (target.windowErrors + target.lastErrors) / calls >= failureRatio;
  }

  /** Whether one more may be left out beside those that are. */
  allows(ejected: number, total: number): boolean {
    return ejected === 0 ? total > 1 : ejected + 1 <= total * this.#options.maxEjected;
  }

  eject(target: Target, now: number, picks: number): void {
    target.ejections += 1;
    target.ejectedAt = now;
    target.ejectedAtPick = picks;
    target.probing = false;
  }

  /** Whether one call may try it. */
  due(target: Target, now: number, picks: number): boolean {
    if (target.ejectedAt === undefined) return false;
    const { baseMs, maxMs, probeEvery } = this.#options;
    const out = now - target.ejectedAt;
    // A probe that never came back is not waited for for ever.
    if (target.probing) return out >= maxMs;
    const limit = Math.min(baseMs * target.ejections, maxMs) * (1 - JITTER * this.#random());
    return out >= limit || (out >= baseMs && picks - target.ejectedAtPick >= probeEvery);
  }

  /** It is back. What it did is forgotten gradually: soon after, it is left out for longer. */
  readmit(target: Target): void {
    target.ejectedAt = undefined;
    target.probing = false;
    target.ejections = Math.max(0, target.ejections - 1);
  }

  #turn(target: Target, now: number, halfMs: number): void {
    const halves = Math.floor((now - target.windowStart) / halfMs);
    if (halves < 1) return;
    target.lastCalls = halves === 1 ? target.windowCalls : 0;
    target.lastErrors = halves === 1 ? target.windowErrors : 0;
    target.windowCalls = 0;
    target.windowErrors = 0;
    target.windowStart = now;
  }
}
