import type { Waiting, WaitHost } from './attempt.ts';
import type { LockLostError } from './errors.ts';
import type { Hold } from './hold.ts';
import { Part } from './part.ts';

/** A part that was entered again: it rests on the outer one and costs no round trip. */
export class NestedPart extends Part {
  readonly outer: Part;
  readonly shared: boolean;
  readonly #slot: ReentrySlot;
  #released = false;

  constructor(outer: Part, slot: ReentrySlot, shared: boolean) {
    super(outer.resource);
    this.outer = outer;
    this.shared = shared;
    this.#slot = slot;
  }

  get hold(): Hold {
    return this.outer.hold;
  }

  get token(): number {
    return this.outer.token;
  }

  remaining(): number {
    return this.#released ? 0 : this.outer.remaining();
  }

  release(): Promise<boolean> {
    if (this.#released) return Promise.resolve(false);
    const held = this.outer.remaining() > 0;
    this.#released = true;
    this.#slot.leave(this);
    return Promise.resolve(held);
  }

  releaseQuietly(): void {
    if (this.#released) return;
    this.#released = true;
    this.#slot.leave(this);
  }
}

/**
 * Who has entered an outer part again. Code nested inside the outer hold enters at once; two siblings inside the same
 * hold, as under `Promise.all`, take turns, since neither is inside the other.
 */
export class ReentrySlot implements WaitHost {
  readonly #outer: Part;
  readonly #inside = new Set<NestedPart>();
  readonly #queue: { readonly waiting: Waiting; readonly shared: boolean }[] = [];

  private constructor(outer: Part) {
    this.#outer = outer;
  }

  /** The slot of a part, made on first use. */
  static of(outer: Part): ReentrySlot {
    outer.slot ??= new ReentrySlot(outer);
    return outer.slot;
  }

  /** Lets `waiting` enter, now or in its turn. Returns whether it has to wait. */
  enter(waiting: Waiting, shared: boolean): boolean {
    if (this.#queue.length === 0 && this.#fits(shared)) {
      this.#admit(waiting, shared);
      return false;
    }
    if (!waiting.attempt.patient) {
      waiting.refuse();
      return false;
    }
    waiting.host = this;
    this.#queue.push({ waiting, shared });
    return true;
  }

  blockersOf(): Iterable<Part> {
    return this.#inside;
  }

  positionOf(waiting: Waiting): number {
    return this.#queue.findIndex((entry) => entry.waiting === waiting) + 1;
  }

  onLeft(waiting: Waiting): void {
    const index = this.positionOf(waiting) - 1;
    if (index >= 0) this.#queue.splice(index, 1);
    this.#pump();
  }

  leave(part: NestedPart): void {
    this.#inside.delete(part);
    this.#pump();
  }

  /** The outer part is gone: nobody inside holds anything any more. */
  lose(error: LockLostError): void {
    for (const part of this.#inside) {
      part.user?.onLost(error);
      part.slot?.lose(error);
    }
    for (const { waiting } of this.#queue.splice(0)) waiting.fail(error);
  }

  #fits(shared: boolean): boolean {
    if (this.#inside.size === 0) return true;
    if (!shared) return false;
    for (const part of this.#inside) if (!part.shared) return false;
    return true;
  }

  #pump(): void {
    for (let head = this.#queue[0]; head !== undefined && this.#fits(head.shared); head = this.#queue[0]) {
      this.#queue.shift();
      this.#admit(head.waiting, head.shared);
    }
  }

  #admit(waiting: Waiting, shared: boolean): void {
    const part = new NestedPart(this.#outer, this, shared);
    this.#inside.add(part);
    if (!waiting.grant(part)) this.#inside.delete(part);
  }
}
