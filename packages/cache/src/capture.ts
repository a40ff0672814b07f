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
// More keys than this that changed while something was on its way are not remembered one by one.
const MAX_CHANGED = 10_000;
// Moments before all others.
const BROKEN = -1;
const CLOSED = -2;

/**
 * The state of the world when a value began to be fetched. The value may be kept only while {@link Capture.intact}: a
 * value that an invalidation overtook on its way is old, whenever it arrives.
 */
export class Capture {
  readonly place: Place;
  readonly tags: readonly Counter[];
  /** When it was taken; for {@link Captures} alone. */
  moment: number;
  readonly validity: Validity;
  readonly tagsSeen: number;
  readonly #all: Captures;

  // max-params: one for each value that is read, where an object for them would be made in vain
  constructor(all: Captures, place: Place, tags: readonly Counter[], moment: number) {
    this.#all = all;
    this.place = place;
    this.tags = tags;
    this.moment = moment;
    this.validity = place.scope.validity;
    this.tagsSeen = seenSum(tags);
  }

  /** The key itself counts as deleted or overwritten, and the value as overtaken. */
  break(): void {
    this.moment = Math.min(this.moment, BROKEN);
  }

  get intact(): boolean {
    return (
      this.validity === this.place.scope.validity &&
      (this.tags.length === 0 || seenSum(this.tags) === this.tagsSeen) &&
      !this.#all.changedSince(this.place.full, this.moment)
    );
  }

  /** The same with other tags, which count from now on. */
  withTags(tags: readonly Counter[]): Capture {
    return new Capture(this.#all, this.place, tags, this.moment);
  }
}

/**
 * The captures of everything that is on its way into the first tier. They are many and changes are few, so what is kept are the
 * keys that changed while anything was on its way; reading costs no entry of a map.
 */
export class Captures {
  readonly #changed = new Map<string, number>();
  #open = 0;
  // Grows with every change; a capture is older than the changes with a higher number.
  #moment = 0;
  #allChanged = 0;

  open(place: Place, tags: readonly Counter[] = NO_TAGS): Capture {
    this.#open += 1;
    return new Capture(this, place, tags, this.#moment);
  }

  /** Has to be called for each that was opened. */
  close(capture: Capture): void {
    if (capture.moment === CLOSED) return;
    capture.moment = CLOSED;
    this.#open -= 1;
    if (this.#open === 0 && this.#changed.size > 0) this.#changed.clear();
  }

  /** The key was deleted or overwritten: what is on its way, apart from `mine`, must not be kept. */
  break(full: string, mine?: Capture): void {
    if (this.#open === 0) return;
    const whole = mine !== undefined && !this.changedSince(full, mine.moment);
    this.#moment += 1;
    if (this.#changed.size >= MAX_CHANGED) {
      this.#changed.clear();
      this.#allChanged = this.#moment;
    }
    this.#changed.set(full, this.#moment);
    if (whole) mine.moment = this.#moment;
  }

  changedSince(full: string, moment: number): boolean {
    if (this.#allChanged > moment) return true;
    return this.#changed.size > 0 && (this.#changed.get(full) ?? 0) > moment;
  }
}
