import type { Resource } from './backend.ts';
import type { ResolvedConfig } from './options.ts';
import type { Part } from './part.ts';

/** What a wait can tell about itself when it times out. */
export interface WaitPlace {
  /** 1 is next; 0 is unknown. */
  readonly position: number;
}

/** One call that acquires: it may wait for several resources, one after the other. */
export class Attempt {
  readonly id: string;
  readonly config: ResolvedConfig;
  /** What the caller holds already, and will not release before this has ended. */
  readonly held: Part[];
  /** By the wall clock; for the choice of a victim only. */
  readonly since: number;
  /** What it waits for now. */
  current: Waiting | undefined;
  /** Whether the deadlock detector looks at it. */
  suspected = false;

  constructor(id: string, config: ResolvedConfig, held: Part[], since: number) {
    this.id = id;
    this.config = config;
    this.held = held;
    this.since = since;
  }

  /** Whether it may wait at all. */
  get patient(): boolean {
    return this.config.wait > 0;
  }

  /** Ends the current wait. */
  fail(error: unknown): void {
    this.current?.fail(error);
  }
}

/** One attempt's wait for one resource; it ends exactly once. */
export class Waiting {
  readonly resource: Resource;
  readonly attempt: Attempt;
  /** Resolves to `undefined` when it was busy and the attempt is not patient. */
  readonly promise: Promise<Part | undefined>;
  done = false;
  /** Takes it out of whatever queue it stands in. */
  leave: () => void = () => {};
  /** Those who have what it waits for, as far as this process knows. */
  blockers: () => Iterable<Part> = () => [];
  /** Called when it turns out that it has to wait. */
  onBlocked: () => void = () => {};
  place: () => WaitPlace = () => ({ position: 0 });
  #resolve: (part: Part | undefined) => void = () => {};
  #reject: (error: unknown) => void = () => {};

  constructor(resource: Resource, attempt: Attempt) {
    this.resource = resource;
    this.attempt = attempt;
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    attempt.current = this;
  }

  /** Gives it what it waited for. Returns `false` when it does not want it any more. */
  grant(part: Part): boolean {
    if (this.done) return false;
    this.#end();
    this.#resolve(part);
    return true;
  }

  /** It was busy, and the attempt does not wait. */
  refuse(): void {
    if (this.done) return;
    this.#end();
    this.#resolve(undefined);
  }

  fail(error: unknown): void {
    if (this.done) return;
    this.#end();
    this.leave();
    this.#reject(error);
  }

  #end(): void {
    this.done = true;
    if (this.attempt.current === this) this.attempt.current = undefined;
    for (const part of this.attempt.held) part.waits.delete(this);
  }
}
