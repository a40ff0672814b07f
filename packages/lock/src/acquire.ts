import { InvalidOptionError, onAbort } from '@xiaoke/core';
import { Attempt, WaitEnd, Waiting, type WaitUser } from './attempt.ts';
import type { Resource } from './backend.ts';
import type { LockEngine } from './engine.ts';
import {
  DeadlockError,
  LockAbortedError,
  LockManagerClosedError,
  LockTimeoutError,
  LockUnavailableError,
} from './errors.ts';
import { HeldLock } from './held-lock.ts';
import { levelTokens } from './level-tokens.ts';
import { LockType, type HeldType } from './lock-type.ts';
import type { ResolvedConfig } from './options.ts';
import type { Part } from './part.ts';
import { ReentrySlot } from './reentry.ts';
import { currentFrame, framesFrom, type Frame } from './scope.ts';
import { askAlone, type Permits } from './solo.ts';
import type { AcquireOutcome } from './statistics.ts';
import type { TimelineEntry } from './timeline.ts';

/** What is to be acquired. */
export interface Wish {
  /** Sorted, each once. */
  readonly keys: readonly string[];
  readonly config: ResolvedConfig;
  /** Whether it rejects when it has to go without; otherwise it then resolves to `undefined`. */
  readonly must: boolean;
  readonly permits?: Permits;
}

const NO_FRAMES: readonly Frame[] = [];
/** How long a time-out error may look for the holder's name, in milliseconds. */
const INSPECT_TIMEOUT = 250;

/** One acquisition, from the call to the lock. */
export class Acquisition extends Attempt implements TimelineEntry, WaitUser {
  dueAt = 0;
  heapIndex = -1;
  readonly #wish: Wish;
  readonly #type: HeldType;
  readonly #parent: Frame | undefined;
  /** From the inside out: what `within` names first, then what the caller runs in. */
  readonly #frames: readonly Frame[];
  readonly #started: number;
  #waited = false;
  #busyKey = '';
  #off: (() => void) | undefined;
  #resolve: ((lock: HeldLock | undefined) => void) | undefined;
  #reject: ((error: unknown) => void) | undefined;

  constructor(engine: LockEngine, wish: Wish) {
    const { config } = wish;
    const ambient = currentFrame();
    const named = config.within === undefined ? undefined : frameOf(config.within, engine);
    const frames =
      named === undefined && ambient === undefined
        ? NO_FRAMES
        : [...framesFrom(named), ...framesFrom(ambient)];
    super(engine, config, frames === NO_FRAMES ? undefined : heldBy(engine, frames));
    this.#wish = wish;
    this.#type = wish.permits === undefined ? config.type : 'permits';
    this.#parent = named ?? ambient;
    this.#frames = frames;
    this.#started = engine.clock.monotonic();
  }

  /** Resolves to `undefined` only when it need not have it. */
  run(): Promise<HeldLock | undefined> {
    const { config, keys } = this.#wish;
    const { signal } = config;
    return new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
      if (this.engine.closed) this.onFailed(new LockManagerClosedError());
      else if (signal?.aborted) this.onFailed(new LockAbortedError(keys, signal.reason));
      else this.#start();
    });
  }

  onPart(part: Part): void {
    this.#onParts([part]);
  }

  onRefused(): void {
    this.engine.statistics.count('busy');
    if (!this.#wish.must) {
      this.#settle(undefined);
      return;
    }
    const { permits } = this.#wish;
    const resource: Resource = { kind: permits === undefined ? 'lock' : 'semaphore', key: this.#busyKey };
    const explain = async (): Promise<void> => this.onFailed(await this.#explain(resource, 0));
    this.engine.background(explain, 'explain a busy lock');
  }

  onFailed(error: unknown): void {
    this.#count(outcomeOf(error));
    if (!this.#wish.must && error instanceof LockTimeoutError) this.#settle(undefined);
    else this.#afterwards(() => this.#reject?.(error));
  }

  /** The time to wait is over. */
  onDue(): void {
    const waiting = this.current;
    if (waiting !== undefined) {
      this.engine.background(async () => {
        const position = waiting.host?.positionOf(waiting) ?? 0;
        waiting.fail(await this.#explain(waiting.resource, position));
      }, 'explain a lock time-out');
    }
  }

  #start(): void {
    const { config, keys } = this.#wish;
    this.engine.attempts.add(this);
    if (config.signal !== undefined)
      this.#off = onAbort(config.signal, (reason) => this.fail(new LockAbortedError(keys, reason)));
    this.#arm();
    const [only = ''] = keys;
    if (keys.length === 1) this.#wait(only, this);
    else this.engine.background(() => this.#all(), 'acquire several locks');
  }

  /**
   * Several keys, all or nothing, one after the other. Everybody takes keys in the same order, so this cannot deadlock
   * by itself.
   */
  async #all(): Promise<void> {
    const parts: Part[] = [];
    try {
      for (const key of this.#wish.keys) {
        const end = new WaitEnd();
        this.#wait(key, end);
        const part = await end.promise;
        if (part === undefined) {
          await releaseAll(parts);
          this.onRefused();
          return;
        }
        parts.push(part);
        this.held = [...this.held, part];
      }
      await levelTokens(this.engine, parts);
    } catch (error) {
      await releaseAll(parts);
      this.onFailed(error);
      return;
    }
    this.#onParts(parts);
  }

  #wait(key: string, user: WaitUser): void {
    const { config, permits, keys } = this.#wish;
    const resource: Resource = { kind: permits === undefined ? 'lock' : 'semaphore', key };
    const waiting = new Waiting(resource, this, user);
    this.#busyKey = key;
    if (permits !== undefined) askAlone(this.engine, waiting, 'permits', permits);
    else if (this.#frames.length > 0 && this.#enterAgain(waiting)) return;
    else if (config.type === LockType.SHARED) askAlone(this.engine, waiting, 'shared');
    else if (keys.length > 1 || config.fair || config.priority !== 0)
      askAlone(this.engine, waiting, 'exclusive');
    else if (this.engine.queueOf(resource).enter(waiting)) this.engine.blocked(waiting);
  }

  /** Looks for the key among what encloses the caller. Returns whether that decided it. */
  #enterAgain(waiting: Waiting): boolean {
    const { config } = this.#wish;
    const { key } = waiting.resource;
    for (const { lock, explicit } of this.#frames) {
      const part =
        lock.engine === this.engine ? lock.parts.find((own) => own.resource.key === key) : undefined;
      if (part === undefined || part.resource.kind !== 'lock' || lock.remainingMs() <= 0) continue;
      if (!mayEnter(lock.type, config.type, explicit)) {
        // It would wait for itself; who does not wait finds it busy.
        const owner = config.owner || this.engine.processId;
        if (this.patient) waiting.fail(new DeadlockError([{ key, waitsFor: key, owner }]));
        else waiting.refuse();
        return true;
      }
      this.engine.statistics.count('reentry', config.name);
      const queued = ReentrySlot.of(part).enter(waiting, config.type === LockType.SHARED);
      if (queued) this.engine.blocked(waiting);
      return true;
    }
    return false;
  }

  override onBlocked(): void {
    if (this.#waited) return;
    this.#waited = true;
    // From here on the wait keeps the process alive.
    if (this.heapIndex >= 0) {
      const { dueAt } = this;
      this.engine.leases.cancel(this);
      this.engine.waits.schedule(this, dueAt);
    }
    this.engine.statistics.waiting(this.#wish.config.name, this.#type, 1);
  }

  #onParts(parts: readonly Part[]): void {
    const lock = new HeldLock({
      engine: this.engine,
      parts,
      keys: this.#wish.keys,
      type: this.#type,
      config: this.config,
      parent: this.#parent,
    });
    this.#count('acquired');
    // Closed while it waited.
    if (this.engine.closed) {
      this.engine.background(() => lock.release(), 'release a lock that came too late');
      this.onFailed(new LockManagerClosedError());
    } else this.#settle(lock);
  }

  #settle(lock: HeldLock | undefined): void {
    if (this.suspected) this.#afterwards(() => this.#resolve?.(lock));
    else {
      this.#cleanUp();
      this.#resolve?.(lock);
    }
  }

  /** No edge of this attempt may be seen when its caller goes on. */
  #afterwards(settle: () => void): void {
    this.#cleanUp();
    const { detector } = this.engine;
    if (this.suspected && detector !== undefined) detector.withdraw(this).then(settle, settle);
    else settle();
  }

  #cleanUp(): void {
    const { waits, leases, attempts, statistics } = this.engine;
    this.#off?.();
    waits.cancel(this);
    leases.cancel(this);
    attempts.delete(this);
    if (this.#waited) statistics.waiting(this.config.name, this.#type, -1);
    this.#waited = false;
  }

  #arm(): void {
    const { config } = this.#wish;
    if (config.wait === Infinity) return;
    const limit = config.wait > 0 ? config.wait : this.engine.options.commandTimeout;
    // One that finds the lock free never needs a system timer; see #onBlocked for the others.
    this.engine.leases.schedule(this, this.#started + limit);
  }

  #waitedMs(): number {
    return this.engine.clock.monotonic() - this.#started;
  }

  /** Why the wait ended without the lock. */
  async #explain(resource: Resource, position: number): Promise<Error> {
    const waitedMs = Math.round(this.#waitedMs());
    try {
      const { holders } = await this.engine.bounded.run(
        () => this.engine.backend.inspect(resource),
        'inspection',
        INSPECT_TIMEOUT,
      );
      const summaries = holders.map(({ owner, holdId, ageMs }) => ({
        owner: owner || holdId.slice(0, holdId.lastIndexOf(':')),
        ageMs: Math.max(0, Math.round(ageMs)),
      }));
      return new LockTimeoutError(resource.key, { holders: summaries, position, waitedMs });
    } catch (cause) {
      if (position > 0)
        return new LockTimeoutError(resource.key, { holders: [], position, waitedMs }, { cause });
      return new LockUnavailableError(`No answer about lock "${resource.key}" within ${waitedMs} ms`, {
        cause,
      });
    }
  }

  #count(outcome: AcquireOutcome): void {
    const end = { outcome, waitedMs: this.#waitedMs(), waited: this.#waited };
    this.engine.statistics.ended(this.#wish.config.name, this.#type, end);
  }
}

/** Whether who asks for `wanted` may enter what is held as `held` again. */
function mayEnter(held: HeldType, wanted: LockType, explicit: boolean): boolean {
  if (held === LockType.SHARED) return wanted === LockType.SHARED;
  return explicit || wanted === LockType.REENTRANT || held === LockType.REENTRANT;
}

function outcomeOf(error: unknown): AcquireOutcome {
  if (error instanceof LockTimeoutError) return 'timeout';
  if (error instanceof LockAbortedError) return 'aborted';
  return error instanceof DeadlockError ? 'deadlock' : 'error';
}

/** What the code in `frame` holds, from the inside out. */
function heldBy(engine: LockEngine, frames: readonly Frame[]): Part[] {
  const held: Part[] = [];
  for (const { lock } of frames) {
    if (lock.engine === engine && lock.remainingMs() > 0) held.push(...lock.parts);
  }
  return held.length > 1 ? [...new Set(held)] : held;
}

function frameOf(within: unknown, engine: LockEngine): Frame {
  if (within instanceof HeldLock && within.engine === engine) {
    within.assertHeld();
    return within.frame(true);
  }
  throw new InvalidOptionError('within', 'must be a lock of the same manager');
}

async function releaseAll(parts: readonly Part[]): Promise<void> {
  await Promise.all(parts.toReversed().map((part) => part.release()));
}
