import { toMilliseconds, type Duration } from '@xiaoke/core';
import type { LockEngine } from './engine.ts';
import { DeadlockError, LockLostError, UnsupportedError, type LostReason } from './errors.ts';
import type { Lock } from './lock.ts';
import { levelTokens } from './level-tokens.ts';
import { LockType, type HeldType } from './lock-type.ts';
import { MIN_TTL, type LockConfig, type ResolvedConfig } from './options.ts';
import type { Part, PartUser } from './part.ts';
import { NestedPart } from './reentry.ts';
import { runInFrame, type Frame } from './scope.ts';
import { Solo } from './solo.ts';
import { Turn } from './turn.ts';
import { upgradeHold, upgradeWait } from './upgrade.ts';

/** What a lock is made from. */
export interface HeldLockParts {
  readonly engine: LockEngine;
  readonly parts: readonly Part[];
  readonly keys: readonly string[];
  readonly type: HeldType;
  readonly config: ResolvedConfig;
  readonly parent: Frame | undefined;
}

/** The {@link Lock} that callers get: one or several parts that are held and released together. */
export class HeldLock implements Lock, PartUser {
  readonly keys: readonly string[];
  readonly engine: LockEngine;
  readonly parts: readonly Part[];
  readonly #parent: Frame | undefined;
  fencingToken: number;
  readonly #config: ResolvedConfig;
  readonly #since: number;
  #type: HeldType;
  #controller: AbortController | undefined;
  #lost: LockLostError | undefined;
  #released = false;

  constructor({ engine, parts, keys, type, config, parent }: HeldLockParts) {
    this.engine = engine;
    this.parts = parts;
    this.keys = keys;
    this.#parent = parent;
    this.#type = type;
    this.#config = config;
    this.#since = engine.clock.monotonic();
    this.fencingToken = largestToken(parts);
    for (const part of parts) part.user = this;
  }

  /** The frame of code that runs inside it, entered by its callback or, `explicit`, by `run` or `within`. */
  frame(explicit: boolean): Frame {
    return { lock: this, parent: this.#parent, explicit };
  }

  get type(): HeldType {
    return this.#type;
  }

  get signal(): AbortSignal {
    // Made when it is asked for: most short critical sections never do, and an AbortController is not free.
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#lost !== undefined) this.#controller.abort(this.#lost);
    }
    return this.#controller.signal;
  }

  remainingMs(): number {
    if (this.#released || this.#lost !== undefined) return 0;
    let remaining = Infinity;
    for (const part of this.parts) remaining = Math.min(remaining, part.remaining());
    return remaining;
  }

  assertHeld(): void {
    if (this.remainingMs() > 0) return;
    throw this.#lost ?? new LockLostError(this.keys, this.#released ? 'released' : 'expired');
  }

  async extend(ttl?: Duration): Promise<void> {
    const lease = ttl === undefined ? undefined : toMilliseconds(ttl, 'ttl', { min: MIN_TTL });
    this.assertHeld();
    await Promise.all(
      this.parts.map(async ({ hold }) => {
        if (lease !== undefined) hold.ttl = Math.ceil(lease);
        await this.engine.refresh(hold, 0);
      }),
    );
    this.assertHeld();
  }

  release(): Promise<boolean> {
    if (this.#released) return Promise.resolve(false);
    this.#released = true;
    if (this.#lost === undefined) this.#count('released');
    const only = this.parts.length === 1 ? this.parts[0] : undefined;
    return only === undefined ? this.#releaseAll() : only.release();
  }

  /**
   * Releases it without waiting for the answer; that, and whatever it takes after it, is done in the background.
   * Returns what resolves when the release was sent, or `undefined` when it was already.
   */
  releaseQuietly(): Promise<void> | undefined {
    if (this.#released) return undefined;
    this.#released = true;
    if (this.#lost === undefined) this.#count('released');
    for (let index = this.parts.length - 1; index >= 0; index -= 1) this.parts[index]?.releaseQuietly();
    return this.engine.backend.shortWay?.sent;
  }

  run<T>(fn: () => Promise<T>): Promise<T> {
    return runInFrame(this.frame(true), fn);
  }

  async upgrade(config: Pick<LockConfig, 'wait' | 'signal'> = {}): Promise<void> {
    this.assertHeld();
    if (this.#type === 'permits') throw new UnsupportedError('Permits of a semaphore cannot be upgraded');
    if (this.#type !== LockType.SHARED) return;
    const readers = this.parts.map((part) => {
      if (part instanceof Solo) return part;
      throw this.#selfDeadlock(part);
    });
    const writers: Part[] = [];
    const { clock } = this.engine;
    const wait = upgradeWait(this.engine, this.#config, config.wait);
    const end = clock.monotonic() + wait;
    try {
      for (const part of readers) {
        // What is left of it for all keys together; a single try of each stays one.
        const left = wait === 0 ? 0 : Math.max(1, end - clock.monotonic());
        const terms = { wait: left, signal: config.signal, held: this.#heldParts() };
        await upgradeHold(this.engine, part, this.#config, terms);
        writers.push(part);
      }
      if (writers.length > 1) await levelTokens(this.engine, writers);
    } catch (error) {
      // All keys or none: where it had been decided already, others may read again.
      await Promise.allSettled(writers.map((part) => this.#downgrade(part)));
      throw error;
    }
    this.#become(LockType.EXCLUSIVE);
    this.fencingToken = largestToken(this.parts);
  }

  async downgrade(): Promise<void> {
    this.assertHeld();
    if (this.#type === 'permits') throw new UnsupportedError('Permits of a semaphore cannot be downgraded');
    if (this.#type === LockType.SHARED) return;
    for (const part of this.parts) {
      if (part instanceof NestedPart)
        throw new UnsupportedError('A lock that was entered again cannot be downgraded');
    }
    const held = await Promise.all(this.parts.map((part) => this.#downgrade(part)));
    if (!held.every(Boolean)) this.assertHeld();
    this.#become(LockType.SHARED);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.release().then(() => {});
  }

  // The last key first: whoever waits for several in order then finds them free in order.
  async #releaseAll(): Promise<boolean> {
    const released = await Promise.all(this.parts.toReversed().map((part) => part.release()));
    return released.every(Boolean);
  }

  async #downgrade(part: Part): Promise<boolean> {
    const { hold } = part;
    if (part instanceof Turn) part.detach();
    const request = { ...hold.request, mode: 'shared' as const, lease: hold.ttl };
    const held = await this.engine.bounded.run(() => this.engine.backend.downgrade(request), 'downgrade');
    if (held) hold.mode = 'shared';
    else hold.lose('stolen');
    return held;
  }

  #become(type: HeldType): void {
    this.engine.statistics.converted(this.#config.name, this.#type, type);
    this.#type = type;
  }

  /** What is held here and around it. */
  #heldParts(): Part[] {
    const held: Part[] = [];
    for (let frame: Frame | undefined = this.frame(false); frame !== undefined; frame = frame.parent) {
      if (frame.lock.engine === this.engine) held.push(...frame.lock.parts);
    }
    return held;
  }

  #selfDeadlock(part: Part): DeadlockError {
    const { key } = part.resource;
    return new DeadlockError([{ key, waitsFor: key, owner: this.engine.processId }]);
  }

  onLost({ reason }: LockLostError): void {
    if (this.#released || this.#lost !== undefined) return;
    this.#lost = new LockLostError(this.keys, reason);
    this.#count(reason);
    this.engine.onLockLost(this, this.#lost);
    this.#controller?.abort(this.#lost);
    for (const part of this.parts) part.slot?.lose(this.#lost);
  }

  #count(reason: LostReason): void {
    const heldMs = this.engine.clock.monotonic() - this.#since;
    this.engine.statistics.over(this.#config.name, this.#type, heldMs, reason);
  }
}

function largestToken(parts: readonly Part[]): number {
  let largest = 0;
  for (const { token } of parts) if (token > largest) largest = token;
  return largest;
}
