import type { Leaver } from './backend.ts';
import type { LockEngine } from './engine.ts';
import type { Hold } from './hold.ts';
import type { Linked } from './linked-set.ts';
import type { TimelineEntry } from './timeline.ts';

/** Gives one hold back: asked once, and again in the background until the lease has ended when no answer comes. */
export class Release implements Leaver, TimelineEntry, Linked<Release> {
  before: Release | undefined;
  after: Release | undefined;
  dueAt = 0;
  heapIndex = -1;
  readonly hold: Hold;
  readonly #engine: LockEngine;
  #started = false;
  #outcome: boolean | undefined;
  #result: Promise<boolean> | undefined;
  #resolve: ((released: boolean) => void) | undefined;

  constructor(engine: LockEngine, hold: Hold) {
    this.#engine = engine;
    this.hold = hold;
  }

  /** @param alone - whether nothing else is going on in this process */
  start(alone: boolean): void {
    const { backend, leases, clock, options, releases } = this.#engine;
    this.#started = true;
    releases.add(this);
    leases.schedule(this, clock.monotonic() + options.commandTimeout);
    const { mode, contended } = this.hold;
    if (backend.shortWay === undefined || mode !== 'exclusive' || contended) this.#ask(contended);
    else backend.shortWay.leave(this, alone);
  }

  /** Resolves `false` when it was over already, or when no answer came in time. */
  result(): Promise<boolean> {
    if (this.#outcome !== undefined || !this.#started) return Promise.resolve(this.#outcome ?? false);
    this.#result ??= new Promise((resolve) => {
      this.#resolve = resolve;
    });
    return this.#result;
  }

  onLeft(state: number): void {
    if (state === 2) this.#ask(true);
    else this.#end(state === 1);
  }

  onLeaveFailed(): void {
    this.#insist();
  }

  onDue(): void {
    this.#insist();
  }

  #ask(contended: boolean): void {
    this.#engine.backend.release(this.hold, contended).then(
      (released) => this.#end(released),
      () => this.#insist(),
    );
  }

  #insist(): void {
    if (this.#outcome !== undefined) return;
    this.#end(false);
    this.#engine.releaseAgain(this.hold);
  }

  #end(released: boolean): void {
    if (this.#outcome !== undefined) return;
    this.#outcome = released;
    this.#engine.leases.cancel(this);
    this.#engine.releases.delete(this);
    this.#resolve?.(released);
  }
}
