import type { Hold } from './hold.ts';
import { LinkedSet } from './linked-set.ts';

/** The holds of a process by their id: a hash table with its links in the holds, for the reason of {@link LinkedSet}. */
export class HoldTable {
  readonly #all = new LinkedSet<Hold>();
  #buckets: (Hold | undefined)[] = Array.from({ length: 64 });

  get size(): number {
    return this.#all.size;
  }

  get(holdId: string): Hold | undefined {
    let hold = this.#buckets[this.#bucketOf(holdId)];
    while (hold !== undefined && hold.holdId !== holdId) hold = hold.sameBucket;
    return hold;
  }

  add(hold: Hold): void {
    this.#all.add(hold);
    if (this.#all.size > this.#buckets.length) this.#grow();
    else this.#link(hold);
  }

  delete(hold: Hold): void {
    if (!this.#all.has(hold)) return;
    this.#all.delete(hold);
    const bucket = this.#bucketOf(hold.holdId);
    let other = this.#buckets[bucket];
    if (other === hold) this.#buckets[bucket] = hold.sameBucket;
    while (other !== undefined && other.sameBucket !== hold) other = other.sameBucket;
    if (other !== undefined) other.sameBucket = hold.sameBucket;
    hold.sameBucket = undefined;
  }

  [Symbol.iterator](): Iterator<Hold> {
    return this.#all[Symbol.iterator]();
  }

  #link(hold: Hold): void {
    const bucket = this.#bucketOf(hold.holdId);
    hold.sameBucket = this.#buckets[bucket];
    this.#buckets[bucket] = hold;
  }

  #grow(): void {
    this.#buckets = Array.from({ length: 2 * this.#buckets.length });
    for (const hold of this.#all) this.#link(hold);
  }

  // The ids of a process differ in the number at their end.
  #bucketOf(holdId: string): number {
    let hash = 0;
    for (let at = Math.max(0, holdId.length - 5); at < holdId.length; at += 1)
      hash = (hash * 37 + holdId.charCodeAt(at)) | 0;
    return hash & (this.#buckets.length - 1);
  }
}
