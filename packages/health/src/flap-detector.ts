const WINDOW = 20;
const ENTER = 0.3;
const LEAVE = 0.1;

/**
 * Tells a check that keeps changing from one that is simply down: the share of changes among the last twenty results, later
 * ones weighing more, enters flapping at 30 % and leaves it below 10 % (the rule of Nagios).
 */
export class FlapDetector {
  readonly #results: boolean[] = [];
  /** How many of the last results were the same. */
  #steady = 0;
  #flapping = false;

  get flapping(): boolean {
    return this.#flapping;
  }

  /** Takes in one result; returns whether flapping began with it. */
  add(well: boolean): boolean {
    this.#steady = this.#results.at(-1) === well ? this.#steady + 1 : 1;
    // Most checks never change, and then there is nothing to weigh.
    if (this.#steady > WINDOW && !this.#flapping) return false;
    this.#results.push(well);
    if (this.#results.length > WINDOW) this.#results.shift();
    const share = this.#changeShare();
    const before = this.#flapping;
    // A few results say little: a check that fails once and recovers is not flapping.
    if (this.#results.length >= WINDOW / 2 && share >= ENTER) this.#flapping = true;
    else if (share < LEAVE) this.#flapping = false;
    return this.#flapping && !before;
  }

  #changeShare(): number {
    let changes = 0;
    let total = 0;
    for (let index = 1; index < this.#results.length; index += 1) {
      const weight = 0.8 + (0.4 * index) / WINDOW;
      total += weight;
      if (this.#results[index] !== this.#results[index - 1]) changes += weight;
    }
    return total === 0 ? 0 : changes / total;
  }
}
