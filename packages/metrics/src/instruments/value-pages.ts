/** Where the numbers of one series live: `page[offset]`, `page[offset + 1]`, … */
export interface Slots {
  readonly page: Float64Array;
  readonly offset: number;
}

const PAGE_SLOTS = 1_024;
// Slots of shared memory that were given back rest until so many others were, since a reader in another thread may not
// know yet.
const RESTING = 1_024;

/**
 * Hands out number slots from large arrays, since a typed array of its own would cost a series 200 bytes. The pages of a
 * worker thread are shared memory: it alone writes, and the main thread reads with no message at all.
 */
export class ValuePages {
  readonly #free = new Map<number, Slots[]>();
  #page: Float64Array = new Float64Array(0);
  #used = 0;
  #shared: boolean;

  constructor(shared = false) {
    this.#shared = shared;
  }

  /** Takes `count` slots, all zero. */
  allocate(count: number): Slots {
    const free = this.#free.get(count) ?? [];
    const reused = this.#shared ? (free.length > RESTING ? free.shift() : undefined) : free.pop();
    if (reused !== undefined) {
      reused.page.fill(0, reused.offset, reused.offset + count);
      return reused;
    }
    if (this.#used + count > this.#page.length) {
      this.#page = this.#make(Math.max(PAGE_SLOTS, count));
      this.#used = 0;
    }
    const slots = { page: this.#page, offset: this.#used };
    this.#used += count;
    return slots;
  }

  /** Gives slots back for the next series of the same size. Never call it while a bound child may still write there. */
  release(slots: Slots, count: number): void {
    const free = this.#free.get(count) ?? [];
    free.push(slots);
    this.#free.set(count, free);
  }

  /** From now on pages are shared memory; what was handed out before has to be moved by its owner. */
  share(): void {
    if (this.#shared) return;
    this.#shared = true;
    this.#free.clear();
    this.#page = new Float64Array(0);
    this.#used = 0;
  }

  #make(slots: number): Float64Array {
    return new Float64Array(this.#shared ? new SharedArrayBuffer(slots * 8) : new ArrayBuffer(slots * 8));
  }
}
