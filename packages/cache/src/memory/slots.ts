import { Stored, type Details } from '../stored.ts';

// Beyond this the table grows as it fills.
const MOST_AT_ONCE = 1_000_000;

/**
 * Entries as columns. An object for each entry costs twice as much memory, most of it for what every JavaScript object
 * carries (apps/bench/src/cache/memory.ts).
 */
export class Slots {
  readonly #values: unknown[];
  readonly #details: (Details | undefined)[];
  #expiresAt: Float64Array;
  readonly #free: number[] = [];
  #used = 0;

  /** @param expected - how many entries there may be, if that is known */
  constructor(expected: number) {
    // One more: a new value has its slot before the one it replaces or pushes out gives back its own.
    const size = expected < MOST_AT_ONCE ? expected + 1 : 0;
    this.#values = size === 0 ? [] : Array.from({ length: size });
    this.#details = size === 0 ? [] : Array.from({ length: size });
    this.#expiresAt = new Float64Array(Math.max(64, size));
  }

  take({ value, expiresAt, details }: Stored): number {
    const slot = this.#free.pop() ?? this.#used++;
    if (slot >= this.#expiresAt.length) this.#grow();
    this.#values[slot] = value;
    this.#details[slot] = details;
    this.#expiresAt[slot] = expiresAt;
    return slot;
  }

  give(slot: number): void {
    this.#values[slot] = undefined;
    this.#details[slot] = undefined;
    this.#free.push(slot);
  }

  valueOf(slot: number): unknown {
    return this.#values[slot];
  }

  detailsOf(slot: number): Details | undefined {
    return this.#details[slot];
  }

  expiresAt(slot: number): number {
    return this.#expiresAt[slot] ?? 0;
  }

  describe(slot: number, details: Details): void {
    this.#details[slot] = details;
  }

  update(slot: number, { expiresAt, details }: Stored): void {
    this.#expiresAt[slot] = expiresAt;
    this.#details[slot] = details;
  }

  /** A copy; see {@link Slots.update}. */
  at(slot: number): Stored | undefined {
    const details = this.#details[slot];
    return details && new Stored(this.#values[slot], this.expiresAt(slot), details);
  }

  #grow(): void {
    const larger = new Float64Array(this.#expiresAt.length * 2);
    larger.set(this.#expiresAt);
    this.#expiresAt = larger;
  }
}
