/** A double-ended list with constant-time ends. */
export class Deque<T> {
  #back: T[] = [];
  #head = 0;
  #front: T[] = [];

  get size(): number {
    return this.#back.length - this.#head + this.#front.length;
  }

  pushBack(value: T): void {
    this.#back.push(value);
  }

  pushFront(value: T): void {
    this.#front.push(value);
  }

  popFront(): T | undefined {
    if (this.#front.length > 0) return this.#front.pop();
    if (this.#head >= this.#back.length) return undefined;
    const value = this.#back[this.#head];
    this.#head += 1;
    // Consumed entries are let go in large steps: often enough to bound memory, rarely enough to cost nothing.
    if (this.#head >= 1_024 && this.#head * 2 >= this.#back.length) {
      this.#back = this.#back.slice(this.#head);
      this.#head = 0;
    }
    return value;
  }

  peekFront(): T | undefined {
    return this.#front.length > 0 ? this.#front.at(-1) : this.#back[this.#head];
  }

  *[Symbol.iterator](): Iterator<T> {
    for (let index = this.#front.length - 1; index >= 0; index -= 1) yield this.#front[index] as T;
    for (let index = this.#head; index < this.#back.length; index += 1) yield this.#back[index] as T;
  }
}
