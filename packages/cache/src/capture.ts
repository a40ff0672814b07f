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
  #broken = false;

  constructor(place: Place, tags: readonly Counter[] = NO_TAGS) {
    this.place = place;
    this.tags = tags;
    this.validity = place.scope.validity;
    this.tagsSeen = seenSum(tags);
  }

  /** The key itself was deleted or overwritten. */
  break(): void {
    this.#broken = true;
  }

  get intact(): boolean {
    return (
      !this.#broken &&
      this.validity === this.place.scope.validity &&
      (this.tags.length === 0 || seenSum(this.tags) === this.tagsSeen)
    );
  }
}

/** The captures of everything that is on its way into the first tier, by key. */
export class Captures {
  // A chain for each key, which nearly always has one link.
  readonly #open = new Map<string, Capture>();

  get size(): number {
    return this.#open.size;
  }

  open(place: Place, tags?: readonly Counter[]): Capture {
    const capture = new Capture(place, tags);
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

  /** The key was deleted or overwritten: what is on its way, apart from `mine`, must not be kept. */
  break(full: string, mine?: Capture): void {
    for (let capture = this.#open.get(full); capture !== undefined; capture = capture.next)
      if (capture !== mine) capture.break();
  }
}
