import { Links } from './links.ts';
import { SlotList } from './slot-list.ts';
import { NONE, type SlotPolicy } from './slot-policy.ts';

/** First in, first out: reads change nothing. */
export class FifoPolicy implements SlotPolicy {
  readonly #links: Links;
  readonly #list: SlotList;

  constructor(expected: number) {
    this.#links = new Links(expected);
    this.#list = new SlotList(this.#links);
  }

  onInsert(slot: number): void {
    this.#links.reserve(slot);
    this.#list.pushHead(slot);
  }

  onHit(): void {}

  onRemove(slot: number): void {
    this.#list.remove(slot);
  }

  victim(incoming: number): number {
    return this.#list.tail === NONE ? incoming : this.#list.tail;
  }

  clear(): void {
    this.#list.clear();
  }
}
