import { EntryList } from './entry-list.ts';
import type { Entry, EvictionPolicy } from './eviction-policy.ts';

/** First in, first out: reads change nothing. */
export class FifoPolicy implements EvictionPolicy {
  readonly #list = new EntryList();

  onInsert(entry: Entry): void {
    this.#list.pushHead(entry);
  }

  onHit(): void {}

  onRemove(entry: Entry): void {
    this.#list.remove(entry);
  }

  victim(incoming: Entry): Entry {
    return this.#list.tail ?? incoming;
  }

  clear(): void {
    this.#list.clear();
  }
}
