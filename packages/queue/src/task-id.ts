import { randomBytes } from 'node:crypto';

const WIDTH = 36 ** 4;

/**
 * Makes task ids: 8 characters of time, 4 of a counter, 6 of randomness, all base 36. Ids of one process sort in the
 * order they were made, which is what keeps tasks due in the same millisecond in order.
 */
export class TaskIds {
  readonly #suffix: string;
  #last = 0;
  #counter = 0;
  #prefix = '';

  constructor(random: string = randomSuffix()) {
    this.#suffix = random;
  }

  next(now: number): string {
    // Time that went back, and a counter that ran over, both continue from the last millisecond used.
    const time = Math.max(now, this.#last);
    if (time !== this.#last || this.#counter + 1 >= WIDTH) {
      this.#last = time === this.#last ? time + 1 : time;
      this.#counter = 0;
      this.#prefix = this.#last.toString(36).padStart(8, '0');
    } else {
      this.#counter += 1;
    }
    return this.#prefix + this.#counter.toString(36).padStart(4, '0') + this.#suffix;
  }
}

function randomSuffix(): string {
  return randomBytes(6).readUIntBE(0, 6).toString(36).padStart(6, '0').slice(-6);
}
