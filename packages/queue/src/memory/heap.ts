interface Entry<T> {
  readonly at: number;
  readonly order: number;
  readonly value: T;
}

/** A priority queue by time; equal times keep the order in which they came. Entries are dropped lazily by their owner. */
export class TimeHeap<T> {
  readonly #entries: Entry<T>[] = [];
  #order = 0;

  get size(): number {
    return this.#entries.length;
  }

  /** Returns the entry's order, which tells a stale entry of the same value from the current one. */
  push(at: number, value: T): number {
    this.#order += 1;
    const entry = { at, order: this.#order, value };
    this.#entries.push(entry);
    this.#up(this.#entries.length - 1, entry);
    return entry.order;
  }

  peek(): Entry<T> | undefined {
    return this.#entries[0];
  }

  pop(): Entry<T> | undefined {
    const top = this.#entries[0];
    const last = this.#entries.pop();
    if (top !== undefined && last !== undefined && this.#entries.length > 0) this.#down(last);
    return top;
  }

  #up(start: number, entry: Entry<T>): void {
    let index = start;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      const other = this.#entries[parent];
      if (other === undefined || before(other, entry)) break;
      this.#entries[index] = other;
      index = parent;
    }
    this.#entries[index] = entry;
  }

  #down(entry: Entry<T>): void {
    const { length } = this.#entries;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      const left = this.#entries[child];
      if (left === undefined) break;
      let smaller = left;
      const right = child + 1 < length ? this.#entries[child + 1] : undefined;
      if (right !== undefined && before(right, left)) {
        child += 1;
        smaller = right;
      }
      if (before(entry, smaller)) break;
      this.#entries[index] = smaller;
      index = child;
    }
    this.#entries[index] = entry;
  }
}

function before<T>(a: Entry<T>, b: Entry<T>): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
