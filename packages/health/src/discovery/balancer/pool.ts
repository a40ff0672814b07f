import { isRoutable } from '../instance.ts';
import type { ResolvedBalancerOptions } from './options.ts';
import { makeChooser, type Chooser, type Circumstances } from './policies.ts';
import type { Target } from './target.ts';

/** Instances equally near to the caller. */
interface Level {
  readonly targets: readonly Target[];
  readonly chooser: Chooser;
  /** The share of the traffic that stays at this level or nearer. */
  readonly upTo: number;
}

/** What a new instance gets at once. */
const FIRST_SHARE = 0.1;
/** How much better another one must look before one that calls itself degraded, or worse, is passed over. */
const DEGRADED = 2;
const SICK = 8;

/** Who may be chosen: those that are well, nearest first; and when too few are, everybody that is there. */
export class Pool {
  readonly #options: ResolvedBalancerOptions;
  readonly #circumstances: Circumstances;
  #levels: readonly Level[] = [];
  #panic = false;
  #warming = false;
  #available = 0;

  constructor(options: ResolvedBalancerOptions, circumstances: Circumstances) {
    this.#options = options;
    this.#circumstances = circumstances;
  }

  /** Whether too few are well, and the others are used too. */
  get panic(): boolean {
    return this.#panic;
  }

  /** Whether shares still grow, so that it has to be arranged again soon. */
  get warming(): boolean {
    return this.#warming;
  }

  get available(): number {
    return this.#available;
  }

  choose(now: number, key: string | undefined): Target | undefined {
    const levels = this.#levels;
    const [nearest] = levels;
    if (nearest === undefined) return undefined;
    if (nearest.upTo >= 1) return nearest.chooser.choose(now, key);
    const point = this.#circumstances.random();
    return (levels.find(({ upTo }) => point < upTo) ?? levels.at(-1))?.chooser.choose(now, key);
  }

  /** The best of those that `allowed` lets through, nearest first. */
  chooseAmong(now: number, allowed: (target: Target) => boolean): Target | undefined {
    for (const { targets } of this.#levels) {
      let best: Target | undefined;
      let least = Infinity;
      for (const target of targets) {
        const score = allowed(target) ? target.score(now, this.#circumstances.climate) : Infinity;
        if (score >= least) continue;
        best = target;
        least = score;
      }
      if (best !== undefined) return best;
    }
    return undefined;
  }

  /** Arranges the instances anew, after something about them changed. */
  arrange(all: readonly Target[], now: number): void {
    const relevant = all.filter(({ instance }) => !isLeaving(instance.status));
    const candidates = this.#candidates(all, relevant);
    this.#available = candidates.length;
    this.#warming = false;
    for (const target of all) target.handicap = handicapOf(target);
    const { near, nearby, far } = this.#byDistance(candidates);
    const members = this.#byDistance(relevant);
    const levels: Level[] = [];
    let covered = 0;
    for (const [level, whole] of [
      [near, members.near],
      [nearby, members.nearby],
      [far, members.far],
    ] as const) {
      if (level.length === 0) continue;
      covered += (1 - covered) * this.#stays(level.length, whole.length);
      levels.push({ targets: level, chooser: this.#chooser(level, now), upTo: covered });
    }
    this.#levels = levels;
  }

  #candidates(all: readonly Target[], relevant: readonly Target[]): readonly Target[] {
    const well = relevant.filter(
      ({ instance, ejectedAt }) => isRoutable(instance.status) && ejectedAt === undefined,
    );
    this.#panic = relevant.length > 0 && well.length < relevant.length * this.#options.panicBelow;
    if (this.#panic) return relevant;
    if (well.length > 0) return well;
    if (relevant.length > 0) return relevant;
    // Who drains still answers for a moment; better that than no answer.
    const draining = all.filter(({ instance }) => instance.status === 'draining');
    return draining.length > 0 ? draining : all;
  }

  /** How much of the traffic a level keeps: all, until fewer than `spillBelow` of its members are well. */
  #stays(well: number, members: number): number {
    const { spillBelow } = this.#options.locality;
    return spillBelow === 0 ? 1 : Math.min(1, well / Math.max(members, well) / spillBelow);
  }

  #byDistance(targets: readonly Target[]): Readonly<Record<'near' | 'nearby' | 'far', readonly Target[]>> {
    const { zone, region } = this.#options.locality;
    const distance = ({ instance }: Target): 'near' | 'nearby' | 'far' => {
      if (zone !== undefined && instance.zone === zone) return 'near';
      return region !== undefined && instance.region === region ? 'nearby' : 'far';
    };
    return {
      near: targets.filter((target) => distance(target) === 'near'),
      nearby: targets.filter((target) => distance(target) === 'nearby'),
      far: targets.filter((target) => distance(target) === 'far'),
    };
  }

  #chooser(targets: readonly Target[], now: number): Chooser {
    const weights = targets.map((target) => target.instance.weight * this.#warmth(target, now));
    const mean = weights.reduce((sum, weight) => sum + weight, 0) / weights.length;
    targets.forEach((target, index) => (target.weight = (weights[index] ?? mean) / mean));
    return makeChooser(this.#options.policy, targets, this.#circumstances);
  }

  #warmth(target: Target, now: number): number {
    if (!target.warming) return 1;
    const share = (now - target.addedAt) / this.#options.slowStartMs;
    if (share >= 1) {
      target.warming = false;
      return 1;
    }
    this.#warming = true;
    return Math.max(FIRST_SHARE, share);
  }
}

function isLeaving(status: string): boolean {
  return status === 'draining' || status === 'starting';
}

function handicapOf({ instance: { status } }: Target): number {
  if (status === 'healthy') return 1;
  return status === 'degraded' ? DEGRADED : SICK;
}
