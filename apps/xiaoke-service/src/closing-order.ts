import type { Closeable, Logger } from '@xiaoke/core';

/** Remembers what was made, and closes it in the reverse order. */
export class ClosingOrder {
  readonly #logger: Logger;
  readonly #made: { readonly name: string; readonly part: Pick<Closeable, 'close'> }[] = [];

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** Gives back the part, which is from now on closed before everything that was made before it. */
  keep<P extends Pick<Closeable, 'close'>>(name: string, part: P): P {
    this.#made.push({ name, part });
    return part;
  }

  /** Closes everything, the last made first. What fails to close is logged, and keeps nothing else from closing. Idempotent. */
  async close(): Promise<void> {
    for (const { name, part } of this.#made.splice(0).reverse()) {
      await part
        .close()
        .catch((error: unknown) => this.#logger.error({ err: error, part: name }, 'closing failed'));
    }
  }
}
