const MAX_COUNT = 15;
// Both counters of a byte after both were shifted by one bit.
const HALVED = 0x77;
// Spread each of the four counters of a key over its block.
const SPREAD = 0x31848bab;

/**
 * A count-min sketch with four counters of at most 15 a key, all in one block of memory, two to a byte, halved after ten uses per entry
 * so that old popularity fades (Einziger, Friedman and Manes, TinyLFU, 2017; the layout is Caffeine's).
 */
export class FrequencySketch {
  readonly #counts: Uint8Array;
  readonly #blockMask: number;
  readonly #sample: number;
  #size = 0;

  constructor(capacity: number) {
    const wanted = Math.max(256, capacity);
    let blocks = 8;
    while (blocks < wanted) blocks *= 2;
    this.#counts = new Uint8Array(blocks * 8);
    this.#blockMask = (blocks >>> 3) - 1;
    this.#sample = 10 * wanted;
  }

  /** How often `hash` was used lately, at most 15. */
  frequency(hash: number): number {
    const block = this.#block(hash);
    const spread = spreadOf(hash);
    let least = MAX_COUNT;
    for (let i = 0; i < 4; i += 1) {
      const place = placeOf(block, spread, i);
      const count = ((this.#counts[place >>> 1] ?? 0) >>> shiftOf(place)) & MAX_COUNT;
      if (count < least) least = count;
    }
    return least;
  }

  increment(hash: number): void {
    const block = this.#block(hash);
    const spread = spreadOf(hash);
    let added = false;
    for (let i = 0; i < 4; i += 1) {
      const place = placeOf(block, spread, i);
      const pair = this.#counts[place >>> 1] ?? 0;
      const shift = shiftOf(place);
      if (((pair >>> shift) & MAX_COUNT) < MAX_COUNT) {
        this.#counts[place >>> 1] = pair + (1 << shift);
        added = true;
      }
    }
    if (!added) return;
    this.#size += 1;
    if (this.#size >= this.#sample) this.#age();
  }

  clear(): void {
    this.#counts.fill(0);
    this.#size = 0;
  }

  #block(hash: number): number {
    return (hash & this.#blockMask) << 3;
  }

  #age(): void {
    let odd = 0;
    for (let i = 0; i < this.#counts.length; i += 1) {
      const pair = this.#counts[i] ?? 0;
      odd += (pair & 1) + ((pair >>> 4) & 1);
      this.#counts[i] = (pair >>> 1) & HALVED;
    }
    this.#size = Math.max(0, (this.#size - (odd >>> 2)) >>> 1);
  }
}

function spreadOf(hash: number): number {
  const mixed = Math.imul(hash, SPREAD);
  return mixed ^ (mixed >>> 14);
}

function placeOf(block: number, spread: number, i: number): number {
  const bits = spread >>> (i << 3);
  return ((block + (bits & 1) + (i << 1)) << 4) + ((bits >>> 1) & 15);
}

// Two counters share a byte.
function shiftOf(place: number): number {
  return (place & 1) << 2;
}
