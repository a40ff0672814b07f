import { EntryList } from './entry-list.ts';
import type { Entry, EvictionPolicy } from './eviction-policy.ts';

/**
 * SIEVE (Zhang et al., NSDI '24): entries stay in insertion order, a read sets one bit, and a hand that walks from the
 * oldest to the newest evicts the first entry without it. Not scan resistant, by its authors' own word.
 */
export class SievePolicy implements EvictionPolicy {
  readonly #list = new EntryList();
  #hand: Entry | undefined;

  onInsert(entry: Entry): void {
    entry.mark = 0;
    this.#list.pushHead(entry);
  }

  onHit(entry: Entry): void {
    entry.mark = 1;
  }

  onRemove(entry: Entry): void {
    if (this.#hand === entry) this.#hand = entry.prev;
    this.#list.remove(entry);
  }

  victim(incoming: Entry): Entry {
    let candidate = this.#hand ?? this.#list.tail;
    while (candidate !== undefined && candidate.mark === 1) {
      candidate.mark = 0;
      candidate = candidate.prev ?? this.#list.tail;
    }
    this.#hand = candidate;
    return candidate ?? incoming;
  }

  clear(): void {
    this.#list.clear();
    this.#hand = undefined;
  }
}
