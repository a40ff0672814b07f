import { EntryList } from './entry-list.ts';
import type { Entry, EvictionPolicy } from './eviction-policy.ts';

/**
 * Least frequently used among what is in the cache, the least recent of equals first, in constant time (Shah, Mitra and
 * Matani, 2010). It never forgets an old favourite; prefer `w-tinylfu` where the workload changes.
 */
export class LfuPolicy implements EvictionPolicy {
  // mark is the number of uses; one list for each number that occurs.
  readonly #uses = new Map<number, EntryList>();
  #fewest = 1;

  onInsert(entry: Entry): void {
    entry.mark = 1;
    this.#fewest = 1;
    this.#listOf(1).pushHead(entry);
  }

  onHit(entry: Entry): void {
    const before = entry.mark;
    this.onRemove(entry);
    entry.mark = before + 1;
    this.#listOf(entry.mark).pushHead(entry);
    if (this.#fewest === before && !this.#uses.has(before)) this.#fewest = before + 1;
  }

  onRemove(entry: Entry): void {
    const list = this.#listOf(entry.mark);
    list.remove(entry);
    if (list.size === 0) this.#uses.delete(entry.mark);
  }

  victim(incoming: Entry): Entry {
    let list = this.#uses.get(this.#fewest);
    // A removal can leave a gap; the next number that occurs is found once and kept.
    if (list === undefined && this.#uses.size > 0) {
      this.#fewest = Math.min(...this.#uses.keys());
      list = this.#uses.get(this.#fewest);
    }
    return list?.tail ?? incoming;
  }

  clear(): void {
    this.#uses.clear();
    this.#fewest = 1;
  }

  #listOf(uses: number): EntryList {
    let list = this.#uses.get(uses);
    if (list === undefined) {
      list = new EntryList();
      this.#uses.set(uses, list);
    }
    return list;
  }
}
