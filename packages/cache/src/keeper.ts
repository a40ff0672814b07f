import type { Capture } from './capture.ts';
import type { Engine } from './engine.ts';
import type { Lifetime } from './lifetime.ts';
import type { Draft, Lease, WriteOutcome } from './second-tier.ts';

/** What a loader gave. */
export interface Loaded {
  readonly value: unknown;
  readonly loadMs: number;
  readonly lifetime: Lifetime;
}

/** Puts what was loaded into both tiers, unless an invalidation overtook it. */
export class Keeper {
  readonly #engine: Engine;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** False when the value was overtaken and is kept nowhere. */
  async keep(capture: Capture, lease: Lease | undefined, loaded: Loaded): Promise<boolean> {
    const freshFor = this.freshFor(loaded.value, loaded.lifetime);
    if (freshFor === undefined) {
      await lease?.release();
      return true;
    }
    const outcome = await this.#store(capture, lease, { ...loaded, freshFor });
    if (outcome === 'fenced') return false;
    return this.#keepFirst(
      capture,
      loaded,
      outcome === 'away' ? Math.min(freshFor, this.#withoutRedis) : freshFor,
    );
  }

  /** How long a value is kept, jitter included; undefined when it is not kept at all. */
  freshFor(value: unknown, lifetime: Lifetime): number | undefined {
    const absent = value === undefined || value === null;
    if (value === undefined && lifetime.negativeTtl === undefined) return undefined;
    const ttl = absent ? (lifetime.negativeTtl ?? lifetime.ttl) : lifetime.ttl;
    if (ttl === 0) return undefined;
    return this.jittered(ttl, lifetime.ttlJitter);
  }

  jittered(ttl: number, jitter: number): number {
    if (jitter === 0) return ttl;
    return Math.max(1, ttl * (1 + jitter * (2 * this.#engine.options.random() - 1)));
  }

  get #withoutRedis(): number {
    return this.#engine.second === undefined ? Infinity : this.#engine.options.ttlWithoutRedis;
  }

  async #store(
    capture: Capture,
    lease: Lease | undefined,
    loaded: Loaded & { readonly freshFor: number },
  ): Promise<WriteOutcome> {
    if (lease === undefined) return 'away';
    if (!capture.intact) {
      await lease.release();
      return 'fenced';
    }
    const { place, tags } = capture;
    const draft: Draft = { ...loaded, place, tags };
    return lease.store(draft);
  }

  #keepFirst(capture: Capture, loaded: Loaded, freshFor: number): boolean {
    if (!capture.intact) return false;
    const { value, loadMs, lifetime } = loaded;
    this.#engine.keep(capture, value, { freshFor, lifetime, loadMs });
    return true;
  }
}
