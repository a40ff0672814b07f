/** What a {@link LinkedSet} can hold; the fields are its own. */
export interface Linked<T> {
  before: T | undefined;
  after: T | undefined;
}

/**
 * A set whose links lie in its entries. Entries come and go with every lock, and each table that a `Set` or `Map` leaves
 * behind as it is rebuilt keeps what it held, and the next table, alive for another round of the garbage collector.
 */
export class LinkedSet<T extends Linked<T>> {
  #first: T | undefined;
  #last: T | undefined;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  has(entry: T): boolean {
    return entry === this.#first || entry.before !== undefined;
  }

  add(entry: T): void {
    if (this.has(entry)) return;
    entry.before = this.#last;
    if (this.#last === undefined) this.#first = entry;
    else this.#last.after = entry;
    this.#last = entry;
    this.#size += 1;
  }

  delete(entry: T): void {
    if (!this.has(entry)) return;
    const { before, after } = entry;
    if (before === undefined) this.#first = after;
    else before.after = after;
    if (after === undefined) this.#last = before;
    else after.before = before;
    entry.before = undefined;
    entry.after = undefined;
    this.#size -= 1;
  }

  /** In the order in which they came; entries may go meanwhile. */
  *[Symbol.iterator](): Iterator<T> {
    for (let entry = this.#first; entry !== undefined;) {
      const { after } = entry;
      yield entry;
      entry = after;
    }
  }
}
