interface Holder {
  readonly id: string;
  /** The key is held at least until then; 0 means until the task ends. */
  readonly until: number;
  next: string | undefined;
  ended: boolean;
}

/** Which task has which unique key, and which one takes over when it ends. */
export class UniqueKeys {
  readonly #holders = new Map<string, Holder>();

  holder(key: string, now: number): string | undefined {
    const holder = this.#holders.get(key);
    if (holder === undefined) return undefined;
    if (holder.ended && holder.until <= now) {
      this.#holders.delete(key);
      return undefined;
    }
    return holder.id;
  }

  hold(key: string, id: string, until: number): void {
    this.#holders.set(key, { id, until, next: undefined, ended: false });
  }

  /** A task that was dead has the key again; a time up to which it is held stays. */
  retake(key: string, id: string): void {
    this.hold(key, id, this.#holders.get(key)?.until ?? 0);
  }

  next(key: string): string | undefined {
    return this.#holders.get(key)?.next;
  }

  setNext(key: string, id: string): void {
    const holder = this.#holders.get(key);
    if (holder !== undefined) holder.next = id;
  }

  /** The task has ended. Returns the task that has the key now, if one waited for it. */
  release(key: string, id: string, now: number): string | undefined {
    const holder = this.#holders.get(key);
    if (holder?.id !== id) {
      if (holder?.next === id) holder.next = undefined;
      return undefined;
    }
    if (holder.next !== undefined) {
      this.hold(key, holder.next, 0);
      return holder.next;
    }
    if (holder.until > now) holder.ended = true;
    else this.#holders.delete(key);
    return undefined;
  }

  sweep(now: number): void {
    for (const [key, holder] of this.#holders)
      if (holder.ended && holder.until <= now) this.#holders.delete(key);
  }
}
