import type { Entry, EvictionPolicy } from './eviction-policy.ts';
import { NONE, type SlotFacts, type SlotPolicy } from './slot-policy.ts';

/** An entry as a policy of the user's sees it. It never becomes another's, however long it is held. */
class PolicyEntry implements Entry {
  readonly slot: number;
  readonly key: string;
  weight = 0;
  expiresAt = 0;
  prev: Entry | undefined = undefined;
  next: Entry | undefined = undefined;
  mark = 0;

  constructor(slot: number, facts: SlotFacts) {
    this.slot = slot;
    this.key = facts.keyOf(slot);
    this.refresh(facts);
  }

  refresh(facts: SlotFacts): void {
    this.weight = facts.weightOf(this.slot);
    this.expiresAt = facts.expiresAt(this.slot);
  }
}

/** Stands between the store, which knows slots, and an {@link EvictionPolicy}, which knows entries. */
export class EntryPolicy implements SlotPolicy {
  readonly #policy: EvictionPolicy;
  readonly #facts: SlotFacts;
  readonly #entries = new Map<number, PolicyEntry>();
  /** The entry that `victim` was asked for, until it comes in. */
  #incoming: PolicyEntry | undefined;

  constructor(policy: EvictionPolicy, facts: SlotFacts) {
    this.#policy = policy;
    this.#facts = facts;
  }

  onInsert(slot: number): void {
    const entry = this.#arriving(slot);
    this.#incoming = undefined;
    this.#policy.onInsert(entry);
    this.#entries.set(slot, entry);
  }

  onHit(slot: number): void {
    const entry = this.#entries.get(slot);
    if (entry === undefined) return;
    entry.refresh(this.#facts);
    this.#policy.onHit(entry);
  }

  onExpiryMoved(slot: number): void {
    this.#entries.get(slot)?.refresh(this.#facts);
  }

  onRemove(slot: number): void {
    const entry = this.#entries.get(slot);
    if (entry === undefined) return;
    this.#entries.delete(slot);
    this.#policy.onRemove(entry);
  }

  victim(incoming: number): number {
    const known = this.#entries.get(incoming);
    const entry = known ?? this.#arriving(incoming);
    // Kept only while it is certain to come in next.
    this.#incoming = undefined;
    const victim: unknown = this.#policy.victim(entry);
    if (victim === entry) return incoming;
    if (!(victim instanceof PolicyEntry) || this.#entries.get(victim.slot) !== victim) return NONE;
    if (known === undefined) this.#incoming = entry;
    return victim.slot;
  }

  clear(): void {
    const leaving = [...this.#entries.values()];
    this.#entries.clear();
    if (this.#policy.clear === undefined) for (const entry of leaving) this.#policy.onRemove(entry);
    else this.#policy.clear();
  }

  #arriving(slot: number): PolicyEntry {
    return this.#incoming?.slot === slot ? this.#incoming : new PolicyEntry(slot, this.#facts);
  }
}
