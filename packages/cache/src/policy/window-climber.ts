/** Hits among requests under one size of the window. */
interface Score {
  readonly hits: number;
  readonly requests: number;
}

// Shares of the cache the window may have. Steps are large, since the effect of a small one drowns in noise.
const SHARES = [0.01, 0.2, 0.5, 0.8];
// A block of requests, in multiples of the capacity, and at least so many.
const BLOCK = 2;
const SHORTEST_BLOCK = 10_000;
// A trial lasts a block for the cache to settle and so many that count; as many before it are what it is compared with.
const COUNTED = 4;
// Standard errors: enough to stop early for better or worse, and to prefer the trial in the end.
const MUCH_BETTER = 3;
const BETTER = 1;
const WORSE = -1.5;
// A trial that goes this badly is broken off within a part of a block: what it has pushed out is gone for long.
const BAD = -4;
const PARTS = 20;
// The first trial waits until a cache that still fills no longer gets better by itself: so many requests an entry.
const WARM_AFTER = 24;
const SHORTEST_WARMING = 6;
const FIRST_PAUSE = 8;
const LONGEST_PAUSE = 64;

/**
 * Finds the size of the window of W-TinyLFU by trial: now and then another size is in force for a few blocks of requests, and
 * stays when its hit ratio is better by more than chance. A climber that follows every change of the hit ratio (Einziger,
 * Eytan, Friedman and Manes, 2018) walks at random where differences are small, and pays for it.
 */
export class WindowClimber {
  readonly #capacity: number;
  readonly #part: number;
  readonly #block: number;
  #level = 0;
  #trial: number | undefined;
  #up = true;
  #pause = FIRST_PAUSE;
  #rest: number;
  // The next block finds the cache as another size has left it, and does not count.
  #settling = true;
  /** The last blocks under the size in force, and those of the trial. */
  #usual: Score[] = [];
  #tried: Score[] = [];
  #hits = 0;
  /** Those up to the last part; dividing by its length for each request would cost as much as finding its entry. */
  #requests = 0;
  #left: number;

  constructor(capacity: number) {
    this.#capacity = capacity;
    this.#part = Math.ceil(Math.max(SHORTEST_BLOCK, BLOCK * capacity) / PARTS);
    this.#block = this.#part * PARTS;
    this.#left = this.#part;
    this.#rest = Math.max(SHORTEST_WARMING, Math.ceil((WARM_AFTER * capacity) / this.#block));
  }

  /** How many entries the window should have now. */
  get size(): number {
    const size = Math.floor(this.#capacity * (SHARES[this.#trial ?? this.#level] ?? 0));
    return Math.max(1, Math.min(this.#capacity - 1, size));
  }

  /** Counts a request. Returns whether the size may have changed. */
  record(hit: boolean): boolean {
    if (hit) this.#hits += 1;
    this.#left -= 1;
    if (this.#left > 0) return false;
    this.#left = this.#part;
    this.#requests += this.#part;
    const score = { hits: this.#hits, requests: this.#requests };
    const bad = this.#trial !== undefined && advantageOf([score], this.#usual) <= BAD;
    if (!bad && this.#requests < this.#block) return false;
    this.#hits = 0;
    this.#requests = 0;
    if (bad) this.#reject();
    else if (this.#settling) this.#settling = false;
    else if (this.#trial === undefined) this.#afterBlock(score);
    else this.#afterTrialBlock(score);
    return true;
  }

  #afterBlock(score: Score): void {
    this.#usual.push(score);
    if (this.#usual.length > COUNTED) this.#usual.shift();
    this.#rest -= 1;
    if (this.#rest > 0) return;
    const next = this.#level + (this.#up ? 1 : -1);
    if (SHARES[next] === undefined) {
      this.#up = !this.#up;
      return;
    }
    this.#trial = next;
    this.#tried = [];
    this.#settling = true;
  }

  #afterTrialBlock(score: Score): void {
    this.#tried.push(score);
    const advantage = advantageOf(this.#tried, this.#usual);
    const done = this.#tried.length === COUNTED;
    if (advantage >= MUCH_BETTER || (done && advantage >= BETTER)) this.#adopt();
    else if (advantage <= WORSE || done) this.#reject();
  }

  #adopt(): void {
    this.#level = this.#trial ?? this.#level;
    this.#trial = undefined;
    this.#usual = this.#tried;
    this.#pause = FIRST_PAUSE;
    this.#rest = 1;
  }

  #reject(): void {
    this.#trial = undefined;
    this.#settling = true;
    this.#up = !this.#up;
    this.#rest = this.#pause;
    this.#pause = Math.min(LONGEST_PAUSE, this.#pause * 2);
  }
}

/** How many standard errors the hit ratio of `some` is above that of `others`. */
function advantageOf(some: readonly Score[], others: readonly Score[]): number {
  const a = sumOf(some);
  const b = sumOf(others);
  if (a.requests === 0 || b.requests === 0) return 0;
  const pooled = (a.hits + b.hits) / (a.requests + b.requests);
  const variance = pooled * (1 - pooled) * (1 / a.requests + 1 / b.requests);
  return variance === 0 ? 0 : (a.hits / a.requests - b.hits / b.requests) / Math.sqrt(variance);
}

function sumOf(scores: readonly Score[]): Score {
  let hits = 0;
  let requests = 0;
  for (const score of scores) {
    hits += score.hits;
    requests += score.requests;
  }
  return { hits, requests };
}
