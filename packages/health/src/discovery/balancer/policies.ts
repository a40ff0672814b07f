import type { Random } from '@xiaoke/core';
import { HashRing } from './hash-ring.ts';
import type { BalancerPolicy } from './options.ts';
import { usualScore, type Climate, type Target } from './target.ts';
import { WeightedChoice } from './weighted-choice.ts';

/** What a choice is made under. */
export interface Circumstances {
  readonly random: Random;
  readonly climate: Climate;
}

/** Chooses one of a fixed set of instances; made anew when the set or its weights change. */
export interface Chooser {
  choose(now: number, key: string | undefined): Target | undefined;
}

type Worse = (target: Target, now: number) => number;

/** Two drawn at random may both be bad: so many more are drawn, one by one, until one is not. */
const MORE_DRAWS = 4;
/** Beyond this another draw is better than a bad instance, and worth the small error in the shares. */
const CLEARLY = 2;

/** What chooses by comparing. */
interface Comparison {
  /** Lower is better. */
  readonly worse: Worse;
  /** What is still no reason to draw another: twice the score of an instance that is like most. */
  readonly bearable: (count: number) => number;
}

/** Makes the chooser of a policy; `targets` is not empty. */
export function makeChooser(
  policy: BalancerPolicy,
  targets: readonly Target[],
  circumstances: Circumstances,
): Chooser {
  const { random, climate } = circumstances;
  if (policy === 'round-robin') return new InTurn(targets);
  if (policy === 'random') return new AtRandom(targets, random);
  if (policy === 'consistent-hash') return new ByKey(targets, random);
  const comparison: Comparison =
    policy === 'least-request'
      ? {
          worse: ({ inflight, weight, handicap }) => (1 + inflight / weight) * handicap,
          bearable: (count) => CLEARLY * (1 + climate.inflight / count),
        }
      : {
          worse: (target, now) => target.score(now, climate),
          bearable: (count) => CLEARLY * usualScore(climate, count),
        };
  const even = targets.every(({ weight }) => Math.abs(weight - 1) < 1e-9);
  return even
    ? new BetterOfTwo(targets, comparison, random)
    : new BetterOfTwoByWeight(targets, comparison, random);
}

/**
 * The better of two different ones (Mitzenmacher, 2001): nearly as good as the best of all, without the herd. Two bad ones of
 * a few would meet often, and one of them be taken; then it is drawn on.
 */
class BetterOfTwo implements Chooser {
  readonly #targets: readonly Target[];
  readonly #comparison: Comparison;
  readonly #random: Random;

  constructor(targets: readonly Target[], comparison: Comparison, random: Random) {
    this.#targets = targets;
    this.#comparison = comparison;
    this.#random = random;
  }

  choose(now: number): Target | undefined {
    const count = this.#targets.length;
    if (count === 1) return this.#targets[0];
    const first = Math.floor(this.#random() * count);
    let second = Math.floor(this.#random() * (count - 1));
    if (second >= first) second += 1;
    const { worse, bearable } = this.#comparison;
    const a = this.#targets[first];
    const b = this.#targets[second];
    if (a === undefined || b === undefined) return a ?? b;
    const scoreOfA = worse(a, now);
    const scoreOfB = worse(b, now);
    const better = scoreOfA <= scoreOfB ? a : b;
    const score = Math.min(scoreOfA, scoreOfB);
    if (count === 2 || score <= bearable(count)) return better;
    const draw = (): Target | undefined => this.#targets[Math.floor(this.#random() * count)];
    return drawOn(better, score, { now, worse, draw, enough: bearable(count) });
  }
}

/**
 * The better of two that are drawn by weight. One that is drawn twice is taken, which is what keeps the shares those of the
 * weights while all are equally good, unless a third draw is clearly better.
 */
class BetterOfTwoByWeight implements Chooser {
  readonly #targets: readonly Target[];
  readonly #comparison: Comparison;
  readonly #random: Random;
  readonly #choice: WeightedChoice;

  constructor(targets: readonly Target[], comparison: Comparison, random: Random) {
    this.#targets = targets;
    this.#comparison = comparison;
    this.#random = random;
    this.#choice = new WeightedChoice(targets.map(({ weight }) => weight));
  }

  choose(now: number): Target | undefined {
    const better = this.#better(now);
    const count = this.#targets.length;
    if (better === undefined || count <= 2) return better;
    const { worse, bearable } = this.#comparison;
    const score = worse(better, now);
    const enough = bearable(count);
    return score <= enough ? better : drawOn(better, score, { now, worse, draw: () => this.#draw(), enough });
  }

  #better(now: number): Target | undefined {
    const { worse } = this.#comparison;
    const a = this.#draw();
    const b = this.#draw();
    if (a === undefined || b === undefined) return a ?? b;
    if (a !== b) return worse(a, now) <= worse(b, now) ? a : b;
    if (this.#targets.length === 1) return a;
    const c = this.#draw();
    return c === undefined || c === a || worse(a, now) <= CLEARLY * worse(c, now) ? a : c;
  }

  #draw(): Target | undefined {
    return this.#targets[this.#choice.draw(this.#random)];
  }
}

interface Draws {
  readonly now: number;
  readonly worse: Worse;
  readonly draw: () => Target | undefined;
  /** The score with which it ends. */
  readonly enough: number;
}

/** The best of what it had and a few more. */
function drawOn(best: Target, score: number, { now, worse, draw, enough }: Draws): Target {
  for (let draws = 0; draws < MORE_DRAWS && score > enough; draws += 1) {
    const next = draw();
    const nextScore = next === undefined ? Infinity : worse(next, now);
    if (next !== undefined && nextScore < score) [best, score] = [next, nextScore];
  }
  return best;
}

interface Turn {
  readonly target: Target;
  credit: number;
}

/** Smooth weighted round-robin, as in nginx: 3 and 1 come as a a b a, not as a a a b. */
class InTurn implements Chooser {
  readonly #turns: readonly Turn[];

  constructor(targets: readonly Target[]) {
    this.#turns = targets.map((target) => ({ target, credit: 0 }));
  }

  choose(): Target | undefined {
    let best: Turn | undefined;
    let total = 0;
    for (const turn of this.#turns) {
      turn.credit += turn.target.weight;
      total += turn.target.weight;
      if (best === undefined || turn.credit > best.credit + 1e-9) best = turn;
    }
    if (best !== undefined) best.credit -= total;
    return best?.target;
  }
}

class AtRandom implements Chooser {
  readonly #targets: readonly Target[];
  readonly #choice: WeightedChoice;
  readonly #random: Random;

  constructor(targets: readonly Target[], random: Random) {
    this.#targets = targets;
    this.#choice = new WeightedChoice(targets.map(({ weight }) => weight));
    this.#random = random;
  }

  choose(): Target | undefined {
    return this.#targets[this.#choice.draw(this.#random)];
  }
}

/** An instance with more than this many times the mean load passes a key on. */
const LOAD_BOUND = 1.25;

/** By key, with bounded load (Mirrokni et al., 2018): a hot key does not drown its instance. Without a key, at random. */
class ByKey implements Chooser {
  readonly #targets: readonly Target[];
  readonly #ring: HashRing;
  readonly #anywhere: AtRandom;

  constructor(targets: readonly Target[], random: Random) {
    this.#targets = targets;
    this.#ring = new HashRing(targets);
    this.#anywhere = new AtRandom(targets, random);
  }

  choose(_now: number, key: string | undefined): Target | undefined {
    if (key === undefined) return this.#anywhere.choose();
    const busy = this.#targets.reduce((sum, { inflight }) => sum + inflight, 0);
    const bound = Math.ceil((LOAD_BOUND * (busy + 1)) / this.#targets.length);
    return this.#ring.find(key, ({ inflight, weight }) => inflight < bound * Math.max(1, weight));
  }
}
