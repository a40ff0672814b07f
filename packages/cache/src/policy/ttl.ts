import type { Entry, EvictionPolicy } from './eviction-policy.ts';

/** Evicts what would expire first. A binary heap by `expiresAt`; `mark` is an entry's place in it. */
export class TtlPolicy implements EvictionPolicy {
  #heap: Entry[] = [];

  onInsert(entry: Entry): void {
    this.#put(entry, this.#heap.length);
    this.#up(entry);
  }

  // A write or a sliding ttl moves the moment of expiry.
  onHit(entry: Entry): void {
    this.#up(entry);
    this.#down(entry);
  }

  onRemove(entry: Entry): void {
    const last = this.#heap.pop();
    if (last === undefined || last === entry) return;
    this.#put(last, entry.mark);
    this.onHit(last);
  }

  victim(incoming: Entry): Entry {
    const first = this.#heap[0];
    return first === undefined || (incoming !== undefined && incoming.expiresAt < first.expiresAt)
      ? incoming
      : first;
  }

  clear(): void {
    this.#heap = [];
  }

  #put(entry: Entry, place: number): void {
    this.#heap[place] = entry;
    entry.mark = place;
  }

  #up(entry: Entry): void {
    while (entry.mark > 0) {
      const parent = this.#heap[(entry.mark - 1) >> 1];
      if (parent === undefined || parent.expiresAt <= entry.expiresAt) return;
      this.#swap(parent, entry);
    }
  }

  #down(entry: Entry): void {
    for (;;) {
      const left = this.#heap[2 * entry.mark + 1];
      const right = this.#heap[2 * entry.mark + 2];
      const child =
        left !== undefined && right !== undefined && right.expiresAt < left.expiresAt ? right : left;
      if (child === undefined || child.expiresAt >= entry.expiresAt) return;
      this.#swap(entry, child);
    }
  }

  #swap(above: Entry, below: Entry): void {
    const [high, low] = [above.mark, below.mark];
    this.#put(below, high);
    this.#put(above, low);
  }
}
