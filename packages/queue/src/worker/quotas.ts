import type { PriorityIndex, TurnRequest } from '../backend.ts';

const ORDER: readonly PriorityIndex[] = [0, 1, 2];

/**
 * Decides which priority the next slots belong to: nginx's smooth weighted round-robin, so that with weights 6:3:1 any
 * ten slots in a row hold six, three and one, evenly mixed. Whatever a list cannot use goes to the others, urgent first;
 * a low task at position `k` of its list is therefore claimed after at most `k · (sum of weights)` claims of one worker.
 */
export class Quotas {
  readonly #weights: readonly [number, number, number] | 'strict';
  readonly #current: [number, number, number] = [0, 0, 0];

  constructor(weights: readonly [number, number, number] | 'strict') {
    this.#weights = weights;
  }

  next(want: number): TurnRequest['quotas'] {
    const weights = this.#weights;
    if (weights === 'strict' || want === 0) return [];
    const sum = weights[0] + weights[1] + weights[2];
    const rounds = Math.floor(want / sum);
    const picked: [number, number, number] = [weights[0] * rounds, weights[1] * rounds, weights[2] * rounds];
    for (let left = want - rounds * sum; left > 0; left -= 1) {
      let best: PriorityIndex = 0;
      for (const index of ORDER) {
        this.#current[index] += weights[index];
        if (this.#current[index] > this.#current[best]) best = index;
      }
      this.#current[best] -= sum;
      picked[best] += 1;
    }
    return ORDER.filter((index) => picked[index] > 0).map((index) => [index, picked[index]] as const);
  }
}
