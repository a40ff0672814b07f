import { toMilliseconds, type Duration } from '@xiaoke/core';
import type { LockEngine } from './engine.ts';
import { DeadlockError, LockLostError, UnsupportedError, type LostReason } from './errors.ts';
import type { Lock } from './lock.ts';
import { LockType, type HeldType } from './lock-type.ts';
import { MIN_TTL, type LockConfig, type ResolvedConfig } from './options.ts';
import type { Part } from './part.ts';
import { NestedPart } from './reentry.ts';
import { runInFrame, type Frame } from './scope.ts';
import { Solo } from './solo.ts';
import { Turn } from './turn.ts';
import { upgradeHold } from './upgrade.ts';

/** What a lock is made from. */
export interface HeldLockParts {
  readonly engine: LockEngine;
  readonly parts: Part[];
  readonly type: HeldType;
  readonly config: ResolvedConfig;
  readonly parent: Frame | undefined;
}

/** The {@link Lock} that callers get: one or several parts that are held and released together. */
export class HeldLock implements Lock {
  readonly keys: readonly string[];
  readonly engine: LockEngine;
  readonly parts: readonly Part[];
  /** The frame of code that runs inside it. */
  readonly frame: Frame;
  readonly explicitFrame: Frame;
  fencingToken: number;
  readonly #config: ResolvedConfig;
  readonly #since: number;
  #type: HeldType;
  #controller: AbortController | undefined;
  #lost: LockLostError | undefined;
  #released = false;

  constructor({ engine, parts, type, config, parent }: HeldLockParts) {
    this.engine = engine;
    this.parts = parts;
    this.keys = parts.map((part) => part.resource.key);
    this.frame = { lock: this, parent, explicit: false };
    this.explicitFrame = { lock: this, parent, explicit: true };
    this.fencingToken = Math.max(...parts.map((part) => part.token));
    this.#type = type;
    this.#config = config;
    this.#since = engine.clock.monotonic();
    const onLost = (error: LockLostError): void => this.#onLost(error.reason);
    for (const part of parts) part.onLost = onLost;
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

  async release(): Promise<boolean> {
    if (this.#released) return false;
    this.#released = true;
    if (this.#lost === undefined) this.#count('released');
    const only = this.parts.length === 1 ? this.parts[0] : undefined;
    if (only !== undefined) return only.release();
    // The last key first: whoever waits for several in order then finds them free in order.
    const released = await Promise.all(this.parts.toReversed().map((part) => part.release()));
    return released.every(Boolean);
  }

  /** Releases it, and resolves when that was sent; whatever it takes after that is done in the background. */
  releaseSent(): Promise<void> {
    const released = this.release();
    this.engine.background(() => released, 'release a lock');
    // What the backend sends in this turn of the event loop goes out before this.
    return new Promise((resolve) => {
      process.nextTick(resolve);
    });
  }

  run<T>(fn: () => Promise<T>): Promise<T> {
    return runInFrame(this.explicitFrame, fn);
  }

  async upgrade(config: Pick<LockConfig, 'wait' | 'signal'> = {}): Promise<void> {
    this.assertHeld();
    if (this.#type === 'permits') throw new UnsupportedError('Permits of a semaphore cannot be upgraded');
    if (this.#type !== LockType.SHARED) return;
    for (const part of this.parts) {
      if (!(part instanceof Solo)) throw this.#selfDeadlock(part);
      await upgradeHold(this.engine, part, this.#config, { config, held: this.#heldParts() });
    }
    this.#become(LockType.EXCLUSIVE);
    this.fencingToken = Math.max(...this.parts.map((part) => part.token));
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
    for (let frame: Frame | undefined = this.frame; frame !== undefined; frame = frame.parent) {
      if (frame.lock.engine === this.engine) held.push(...frame.lock.parts);
    }
    return held;
  }

  #selfDeadlock(part: Part): DeadlockError {
    const { key } = part.resource;
    return new DeadlockError([{ key, waitsFor: key, owner: this.engine.processId }]);
  }

  #onLost(reason: LostReason): void {
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
