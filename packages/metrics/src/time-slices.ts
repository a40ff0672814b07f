/** Lets other work in between pieces of a long one. */
export class TimeSlices {
  readonly #length: number;
  #started = performance.now();

  /** @param length - how long the event loop may be held, in milliseconds */
  constructor(length: number) {
    this.#length = length;
  }

  /** Whether it is time to step aside. */
  get due(): boolean {
    return performance.now() - this.#started > this.#length;
  }

  /** Steps aside if it is time; call it between pieces that are short. */
  async turn(): Promise<void> {
    if (!this.due) return;
    await new Promise((resolve) => setImmediate(resolve));
    this.#started = performance.now();
  }
}
