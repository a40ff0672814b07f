/** What a window tells its channel. */
export interface Acknowledger {
  ack(message: { readonly fields: { readonly deliveryTag: number } }, allUpTo?: boolean): void;
}

/**
 * Acknowledges the deliveries of one channel in as few frames as possible: a prefix of everything that was delivered takes
 * one, whatever is done beyond it one each.
 */
export class AckWindow {
  readonly #done = new Set<number>();
  readonly #acked = new Set<number>();
  #next = 1;
  #highest = 0;

  /** Deliveries that are not acknowledged. */
  get outstanding(): number {
    return this.#highest - (this.#next - 1) - this.#acked.size;
  }

  delivered(tag: number): void {
    this.#highest = tag;
  }

  /** To be acknowledged with the next flush. */
  done(tag: number): void {
    this.#done.add(tag);
  }

  /** It was given back: nothing of it is left to acknowledge. */
  returned(tag: number): void {
    this.#acked.add(tag);
  }

  /** Returns how many deliveries were acknowledged. */
  flush(channel: Acknowledger): number {
    if (this.#done.size === 0) return 0;
    const count = this.#done.size;
    // The broker refuses a tag that it has heard of already, so the last one of the prefix has to be new to it.
    let last = 0;
    for (;;) {
      if (this.#done.delete(this.#next)) last = this.#next;
      else if (!this.#acked.delete(this.#next)) break;
      this.#next += 1;
    }
    if (last > 0) channel.ack({ fields: { deliveryTag: last } }, true);
    for (const tag of this.#done) {
      channel.ack({ fields: { deliveryTag: tag } });
      this.#acked.add(tag);
    }
    this.#done.clear();
    return count;
  }
}
