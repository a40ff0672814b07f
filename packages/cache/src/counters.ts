/**
 * One thing that can be invalidated as a whole: a tag, or a namespace. Everything that depends on it remembers how often
 * it had been invalidated when the load began, and is gone as soon as that number is another.
 */
export class Counter {
  /** `t<tag>` or `g<namespace path>`. */
  readonly id: string;
  /** How often this process saw it invalidated. NaN once the registry forgot it, which equals nothing. */
  seen = 0;
  /** The version every process shares, as last heard; undefined when it has to be asked for. */
  shared: number | undefined;
  /** Until when, in the cache's time, the shared version is certain to outlive what depends on it. */
  keptUntil = 0;

  constructor(id: string) {
    this.id = id;
  }
}

/** The sum of how often each was invalidated; it never returns to an earlier value, since each only grows. */
export function seenSum(counters: readonly Counter[]): number {
  let sum = 0;
  for (const counter of counters) sum += counter.seen;
  return sum;
}

/** The sum of the shared versions, or undefined while one of them is not known. */
export function sharedSum(counters: readonly Counter[]): number | undefined {
  let sum = 0;
  // By index: this runs for every value that is read.
  for (let i = 0; i < counters.length; i += 1) {
    const shared = counters[i]?.shared;
    if (shared === undefined) return undefined;
    sum += shared;
  }
  return sum;
}

const MAX_COUNTERS = 100_000;

/** The counters of tags this process has met, the latest hundred thousand of them. */
export class CounterRegistry {
  readonly #counters = new Map<string, Counter>();
  readonly #limit: number;

  constructor(limit: number = MAX_COUNTERS) {
    this.#limit = limit;
  }

  get size(): number {
    return this.#counters.size;
  }

  /** The counter of `tag`, made on first use. */
  tag(tag: string): Counter {
    const id = `t${tag}`;
    const known = this.#counters.get(id);
    if (known !== undefined) return known;
    if (this.#counters.size >= this.#limit) this.#forgetOldest();
    const made = new Counter(id);
    this.#counters.set(id, made);
    return made;
  }

  /** The counter with this id, if it was met. */
  find(id: string): Counter | undefined {
    return this.#counters.get(id);
  }

  /** Messages may have been missed: every shared version has to be asked for again. */
  forgetShared(): void {
    for (const counter of this.#counters.values()) {
      counter.shared = undefined;
      counter.keptUntil = 0;
    }
  }

  // Whatever depends on it can no longer be told about an invalidation, so it must not be served.
  #forgetOldest(): void {
    for (const [id, counter] of this.#counters) {
      counter.seen = Number.NaN;
      counter.shared = undefined;
      this.#counters.delete(id);
      return;
    }
  }
}
