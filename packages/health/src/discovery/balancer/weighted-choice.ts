import type { Random } from '@xiaoke/core';

/** Draws an index by weight, in constant time: Vose's alias method. */
export class WeightedChoice {
  readonly #share: Float64Array;
  readonly #alias: Int32Array;

  constructor(weights: readonly number[]) {
    const count = weights.length;
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    this.#share = Float64Array.from(weights, (weight) => (weight * count) / total);
    this.#alias = Int32Array.from(weights, (_, index) => index);
    const small: number[] = [];
    const large: number[] = [];
    this.#share.forEach((share, index) => (share < 1 ? small : large).push(index));
    while (small.length > 0 && large.length > 0) {
      const little = small.pop() ?? 0;
      const much = large.at(-1) ?? 0;
      this.#alias[little] = much;
      const rest = (this.#share[much] ?? 1) - (1 - (this.#share[little] ?? 1));
      this.#share[much] = rest;
      if (rest < 1) {
        large.pop();
        small.push(much);
      }
    }
    // What is left over is full but for rounding.
    for (const index of [...small, ...large]) this.#share[index] = 1;
  }

  draw(random: Random): number {
    const point = random() * this.#share.length;
    const index = Math.floor(point);
    return point - index < (this.#share[index] ?? 1) ? index : (this.#alias[index] ?? index);
  }
}
