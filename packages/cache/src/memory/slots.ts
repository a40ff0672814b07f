import type { SlotFacts } from '../policy/slot-policy.ts';
import { Stored, type Details, type Validity } from '../stored.ts';

// Beyond this the table grows as it fills.
const MOST_AT_ONCE = 1_000_000;
const SMALLEST = 64;

/**
 * Entries as columns. An object for each entry costs twice as much memory, most of it for what every JavaScript object
 * carries (apps/bench/src/cache/memory.ts).
 */
export class Slots implements SlotFacts {
  readonly #size: number;
  #keys: (string | undefined)[] = [];
  #values: unknown[] = [];
  #details: (Details | undefined)[] = [];
  #expiresAt: Float64Array = new Float64Array(0);
  #free: number[] = [];
  #used = 0;

  /** @param expected - how many entries there may be, if that is known */
  constructor(expected: number) {
    // One more: a new value has its slot before the one it replaces or pushes out gives back its own.
    this.#size = expected < MOST_AT_ONCE ? expected + 1 : 0;
    this.clear();
  }

  /** How many slots are laid out beforehand. */
  get expected(): number {
    return this.#size;
  }

  /** @param key - for who has to know it; left out, it is not kept */
  take({ value, expiresAt, details }: Stored, key?: string): number {
    const slot = this.#free.pop() ?? this.#used++;
    if (slot >= this.#expiresAt.length) this.#grow();
    if (key !== undefined) this.#keys[slot] = key;
    this.#values[slot] = value;
    this.#details[slot] = details;
    this.#expiresAt[slot] = expiresAt;
    return slot;
  }

  give(slot: number): void {
    if (this.#keys.length > 0) this.#keys[slot] = undefined;
    this.#values[slot] = undefined;
    this.#details[slot] = undefined;
    this.#free.push(slot);
  }

  clear(): void {
    this.#keys = [];
    this.#values = this.#size === 0 ? [] : Array.from({ length: this.#size });
    this.#details = this.#size === 0 ? [] : Array.from({ length: this.#size });
    this.#expiresAt = new Float64Array(Math.max(SMALLEST, this.#size));
    this.#free = [];
    this.#used = 0;
  }

  /** Whether nothing but the expiry was left to check, and that has not come. */
  isFresh(slot: number, validity: Validity, now: number): boolean {
    return this.#details[slot]?.fast === validity && now < this.expiresAt(slot);
  }

  keyOf(slot: number): string {
    return this.#keys[slot] ?? '';
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

  weightOf(slot: number): number {
    return this.#details[slot]?.facts.weight ?? 0;
  }

  describe(slot: number, details: Details): void {
    this.#details[slot] = details;
  }

  update(slot: number, { expiresAt, details }: Stored): void {
    this.#expiresAt[slot] = expiresAt;
    this.#details[slot] = details;
  }

  /** Another value in the same place. */
  replace(slot: number, stored: Stored): void {
    this.#values[slot] = stored.value;
    this.update(slot, stored);
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
