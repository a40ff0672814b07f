import type { Background } from '@xiaoke/core';

/** Background work of which at most one run per kind is under way: during an outage it must not pile up. */
export class OneAtATime {
  readonly #background: Background;
  readonly #busy = new Set<string>();

  constructor(background: Background) {
    this.#background = background;
  }

  /** Starts `work`, unless work of this kind is still under way. */
  run(what: string, work: () => Promise<void>): void {
    if (this.#busy.has(what)) return;
    this.#busy.add(what);
    this.#background.run(async () => {
      try {
        await work();
      } finally {
        this.#busy.delete(what);
      }
    }, what);
  }
}
