import { TransientMap } from '@xiaoke/core';
import { seenSum, type Counter } from './counters.ts';
import type { Scope } from './scope.ts';
import type { Validity } from './stored.ts';

/** A key of a namespace, and the name both go by in the first tier. */
export interface Place {
  readonly scope: Scope;
  readonly key: string;
  readonly full: string;
}

const NO_TAGS: readonly Counter[] = Object.freeze([]);
// More keys than this that changed while something was being read are not remembered one by one.
const MAX_CHANGED = 10_000;
// Moments: before all others, and after all others.
const BROKEN = -1;
const WATCHED = Infinity;

/**
 * The state of the world when a value began to be fetched. The value may be kept only while {@link Capture.intact}: a
 * value that an invalidation overtook on its way is old, whenever it arrives.
 */
export class Capture {
  readonly place: Place;
  readonly tags: readonly Counter[];
  readonly validity: Validity;
  readonly tagsSeen: number;
  /** Another capture of the same key; for {@link Captures} alone. */
  next: Capture | undefined = undefined;
  readonly #all: Captures;
  /** It is broken by any later change of its key. */
  #moment: number;

  // max-params: one for each value that is read, where an object for them would be made in vain
  constructor(all: Captures, place: Place, tags: readonly Counter[], moment: number) {
    this.#all = all;
    this.place = place;
    this.tags = tags;
    this.#moment = moment;
    this.validity = place.scope.validity;
    this.tagsSeen = seenSum(tags);
  }

  /** The key itself was deleted or overwritten. */
  break(): void {
    this.#moment = BROKEN;
  }

  get intact(): boolean {
    return (
      this.validity === this.place.scope.validity &&
      (this.tags.length === 0 || seenSum(this.tags) === this.tagsSeen) &&
      !this.#all.changedSince(this.place.full, this.#moment)
    );
  }

  /** The same with other tags, which count from now on. */
  withTags(tags: readonly Counter[]): Capture {
    return new Capture(this.#all, this.place, tags, this.#moment);
  }
}

/**
 * The captures of everything that is on its way into the first tier. Loads and writes are kept by key, and told of a change. Reads
 * of the second tier are many and short, so nothing is kept for one: instead, the keys that change while there are any.
 */
export class Captures {
  // A chain for each key, which nearly always has one link.
  readonly #open = new TransientMap<string, Capture>();
  #reading = 0;
  readonly #changed = new Map<string, number>();
  // Grows with every change; a read is older than the changes with a higher number.
  #moment = 0;
  #allChanged = 0;

  /** For a load or a write; has to be closed. */
  open(place: Place, tags: readonly Counter[] = NO_TAGS): Capture {
    const capture = new Capture(this, place, tags, WATCHED);
    capture.next = this.#open.get(place.full);
    this.#open.set(place.full, capture);
    return capture;
  }

  close(capture: Capture): void {
    const { full } = capture.place;
    const first = this.#open.get(full);
    if (first === capture) {
      if (capture.next === undefined) this.#open.delete(full);
      else this.#open.set(full, capture.next);
      return;
    }
    for (let before = first; before !== undefined; before = before.next) {
      if (before.next === capture) before.next = capture.next;
    }
  }

  /** For a read; {@link Captures.endRead} has to follow. */
  beginRead(place: Place): Capture {
    this.#reading += 1;
    return new Capture(this, place, NO_TAGS, this.#moment);
  }

  endRead(): void {
    this.#reading -= 1;
    if (this.#reading === 0 && this.#changed.size > 0) this.#changed.clear();
  }

  /** The key was deleted or overwritten: what is on its way, apart from `mine`, must not be kept. */
  break(full: string, mine?: Capture): void {
    for (let capture = this.#open.get(full); capture !== undefined; capture = capture.next)
      if (capture !== mine) capture.break();
    if (this.#reading > 0) this.#note(full);
  }

  changedSince(full: string, moment: number): boolean {
    if (moment === BROKEN || this.#allChanged > moment) return true;
    return this.#changed.size > 0 && (this.#changed.get(full) ?? 0) > moment;
  }

  #note(full: string): void {
    this.#moment += 1;
    if (this.#changed.size >= MAX_CHANGED) {
      // What is being read now is given to who asked for it, and not kept.
      this.#changed.clear();
      this.#allChanged = this.#moment;
    }
    this.#changed.set(full, this.#moment);
  }
}
