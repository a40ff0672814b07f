/** Runs pieces of work one after the other, in the order they were given. */
export class Serial {
  #last: Promise<unknown> = Promise.resolve();

  /** Runs `work` when everything before it has settled, and settles as it does. */
  run<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work);
    this.#last = result.catch(() => {});
    return result;
  }
}
