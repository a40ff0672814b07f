import type { LockEngine } from './engine.ts';
import type { Resource } from './backend.ts';
import type { Linked } from './linked-set.ts';
import type { ResolvedConfig } from './options.ts';
import type { Part } from './part.ts';

const NO_PARTS: readonly Part[] = [];

/** One call that acquires: it may wait for several resources, one after the other. */
export class Attempt implements Linked<Attempt> {
  before: Attempt | undefined;
  after: Attempt | undefined;
  readonly engine: LockEngine;
  readonly config: ResolvedConfig;
  /** What the caller holds already, and will not release before this has ended. */
  held: readonly Part[];
  /** By the wall clock; for the choice of a victim and for inspections only. */
  readonly since: number;
  /** What it waits for now. */
  current: Waiting | undefined;
  /** Whether the deadlock detector looks at it. */
  suspected = false;
  #id: string | undefined;

  constructor(engine: LockEngine, config: ResolvedConfig, held: readonly Part[] = NO_PARTS) {
    this.engine = engine;
    this.config = config;
    this.held = held;
    this.since = engine.clock.now();
  }

  /** Made when somebody asks: most attempts end before anybody does. */
  get id(): string {
    this.#id ??= this.engine.nextId();
    return this.#id;
  }

  /** Whether it may wait at all. */
  get patient(): boolean {
    return this.config.wait > 0;
  }

  /** It turned out that it has to wait. */
  onBlocked(): void {}

  /** Ends the current wait. */
  fail(error: unknown): void {
    this.current?.fail(error);
  }
}

/** Where a wait stands. */
export interface WaitHost {
  /** Those who have what it waits for, as far as this process knows. */
  blockersOf(waiting: Waiting): Iterable<Part>;
  /** Its place: 1 is next; 0 is unknown. */
  positionOf(waiting: Waiting): number;
  /** It has failed, and does not want it any more. */
  onLeft(waiting: Waiting): void;
}

/** Whoever waits; exactly one of these is called, once. */
export interface WaitUser {
  onPart(part: Part): void;
  /** It was busy, and the attempt is not patient. */
  onRefused(): void;
  onFailed(error: unknown): void;
}

/** One attempt's wait for one resource; it ends exactly once. */
export class Waiting {
  readonly resource: Resource;
  readonly attempt: Attempt;
  done = false;
  host: WaitHost | undefined;
  /** The one behind it, of the queue that it stands in. */
  next: Waiting | undefined;
  readonly #user: WaitUser;

  constructor(resource: Resource, attempt: Attempt, user: WaitUser) {
    this.resource = resource;
    this.attempt = attempt;
    this.#user = user;
    attempt.current = this;
  }

  /** Gives it what it waited for. Returns `false` when it does not want it any more. */
  grant(part: Part): boolean {
    if (this.done) return false;
    this.#end();
    this.#user.onPart(part);
    return true;
  }

  /** It was busy, and the attempt does not wait. */
  refuse(): void {
    if (this.done) return;
    this.#end();
    this.#user.onRefused();
  }

  fail(error: unknown): void {
    if (this.done) return;
    this.#end();
    this.host?.onLeft(this);
    this.#user.onFailed(error);
  }

  #end(): void {
    this.done = true;
    if (this.attempt.current === this) this.attempt.current = undefined;
    for (const part of this.attempt.held) part.waits?.delete(this);
  }
}

/** The end of a wait as a promise: of the part, or of `undefined` when it was busy. */
export class WaitEnd implements WaitUser {
  readonly promise: Promise<Part | undefined>;
  #resolve: ((part: Part | undefined) => void) | undefined;
  #reject: ((error: unknown) => void) | undefined;

  constructor() {
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  onPart(part: Part): void {
    this.#resolve?.(part);
  }

  onRefused(): void {
    this.#resolve?.(undefined);
  }

  onFailed(error: unknown): void {
    this.#reject?.(error);
  }
}
