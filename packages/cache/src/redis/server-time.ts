/** The time of the Redis server, as this process can tell it without asking: two processes never compare their own clocks. */
export class ServerTime {
  readonly #exact: () => number;
  readonly #coarse: () => number;
  #offset = 0;

  /**
   * @param exact - a clock of this process that never jumps, in milliseconds
   * @param coarse - the same, within a millisecond, and quicker to read
   */
  constructor(exact: () => number, coarse: () => number = exact) {
    this.#exact = exact;
    this.#coarse = coarse;
  }

  /** As {@link now}, within a millisecond. */
  roughly(): number {
    return this.#coarse() + this.#offset;
  }

  /** Milliseconds since the epoch. */
  now(): number {
    return this.#exact() + this.#offset;
  }

  /** Sets it by the reply to a TIME command sent at `sentAt`: the server read its clock half way through. */
  set(reply: unknown, sentAt: number): void {
    if (!Array.isArray(reply)) return;
    const server = Number(reply[0]) * 1_000 + Number(reply[1]) / 1_000;
    if (Number.isFinite(server)) this.#offset = server - (sentAt + this.#exact()) / 2;
  }

  exact(): number {
    return this.#exact();
  }
}
