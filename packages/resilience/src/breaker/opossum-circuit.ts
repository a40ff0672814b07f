import { EventEmitter } from 'node:events';
import { InvalidOptionError } from '@xiaoke/core';
import OpossumBreaker from 'opossum';

/** What opossum's own methods lead to. */
export interface OpossumOwner {
  readonly name: string;
  run(action: () => unknown): Promise<unknown>;
}

// What opossum really is: @types/opossum declares its getters as fields, which a subclass could not override.
declare class Breaker extends EventEmitter {
  constructor(action: (run: () => unknown) => Promise<unknown>, options: object);
  readonly name: string;
  get opened(): boolean;
  get closed(): boolean;
  get halfOpen(): boolean;
  get pendingClose(): boolean;
  open(): void;
  close(): void;
  call(context: unknown, ...args: unknown[]): Promise<unknown>;
  fire(...args: unknown[]): Promise<unknown>;
}
const OpossumBase: typeof Breaker = OpossumBreaker;

/**
 * opossum as the holder of a circuit's state: `opened`, `halfOpen`, `closed`, `open()`, `close()`, `toJSON()` and its events
 * are opossum's own. What decides is taken out: its timer and its rule that one success closes (we count probes), its
 * statistics (they grow until a timer turns them), its timeout, capacity, cache and percentiles.
 */
export class OpossumCircuit extends OpossumBase {
  readonly #owner: OpossumOwner;
  #halfOpen = false;

  constructor(owner: OpossumOwner) {
    super((action) => owner.run(action), {
      name: owner.name,
      timeout: false,
      rollingPercentilesEnabled: false,
      enableSnapshots: false,
      // Given a controller, opossum starts no timer; this one never turns, and there is nothing to turn.
      rotateBucketController: new EventEmitter(),
      volumeThreshold: Number.MAX_SAFE_INTEGER,
    });
    this.#owner = owner;
    // Its listeners are its behaviour. The names stay, since tools find the events of a breaker by eventNames().
    for (const event of this.eventNames()) {
      this.removeAllListeners(event);
      this.on(event, () => {});
    }
    this.on('halfOpen', () => {});
  }

  // opossum reads its state through these, in toJSON() too.
  override get halfOpen(): boolean {
    return this.#halfOpen;
  }

  override get pendingClose(): boolean {
    return this.#halfOpen;
  }

  override get opened(): boolean {
    return super.opened && !this.#halfOpen;
  }

  /** Goes from open to half-open, which opossum itself only does by its timer. */
  tryHalfOpen(openForMs: number): void {
    if (!this.opened) return;
    this.#halfOpen = true;
    this.emit('halfOpen', openForMs);
  }

  override open(): void {
    const probing = this.#halfOpen;
    this.#halfOpen = false;
    // To opossum it has been open all the time.
    if (probing) this.emit('open');
    else super.open();
  }

  override close(): void {
    this.#halfOpen = false;
    super.close();
  }

  /** Runs the function it is given under the circuit that this one belongs to, so that it is judged like all calls. */
  override async call(_context: unknown, ...args: unknown[]): Promise<unknown> {
    return await this.fire(...args);
  }

  override async fire(...args: unknown[]): Promise<unknown> {
    const [action, ...rest] = args;
    if (typeof action !== 'function') throw new InvalidOptionError('action', 'must be a function to run');
    return await this.#owner.run(() => action(...rest) as unknown);
  }
}
