import { InvalidOptionError, onAbort } from '@xiaoke/core';
import { Attempt, Waiting } from './attempt.ts';
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
  readonly permits?: Permits;
}

const NO_FRAMES: readonly Frame[] = [];
/** How long a time-out error may look for the holder's name, in milliseconds. */
const INSPECT_TIMEOUT = 250;

/** One acquisition, from the call to the lock. */
export class Acquisition extends Attempt implements TimelineEntry {
  dueAt = 0;
  heapIndex = -1;
  readonly #wish: Wish;
  readonly #type: HeldType;
  readonly #parent: Frame | undefined;
  /** From the inside out: what `within` names first, then what the caller runs in. */
  readonly #frames: readonly Frame[];
  readonly #started: number;
  #waited = false;
  #busyKey: string | undefined;

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

  /** Resolves to `undefined` when it is busy and the wait is 0. */
  async run(): Promise<HeldLock | undefined> {
    const { config, keys } = this.#wish;
    if (this.engine.closed) throw new LockManagerClosedError();
    if (config.signal?.aborted) throw this.#counted(new LockAbortedError(keys, config.signal.reason));
    this.engine.attempts.add(this);
    const off =
      config.signal === undefined
        ? undefined
        : onAbort(config.signal, (reason) => this.fail(new LockAbortedError(keys, reason)));
    this.#arm();
    try {
      const [only = ''] = keys;
      const part = keys.length === 1 ? await this.#wait(only, false) : undefined;
      const parts = keys.length > 1 ? await this.#all() : part && [part];
      return parts === undefined ? this.#busy() : this.#acquired(parts);
    } catch (error) {
      throw this.#counted(error);
    } finally {
      off?.();
      this.engine.waits.cancel(this);
      this.engine.leases.cancel(this);
      this.engine.attempts.delete(this);
      if (this.#waited) this.engine.statistics.waiting(config.name, this.#type, -1);
      if (this.suspected) await this.engine.detector?.withdraw(this);
    }
  }

  /** The time to wait is over. */
  onDue(): void {
    const waiting = this.current;
    if (waiting !== undefined) {
      this.engine.background(
        async () => waiting.fail(await this.#explain(waiting)),
        'explain a lock time-out',
      );
    }
  }

  /**
   * Several keys, all or nothing, one after the other. Everybody takes keys in the same order, so this cannot deadlock
   * by itself.
   */
  async #all(): Promise<Part[] | undefined> {
    const parts: Part[] = [];
    try {
      for (const key of this.#wish.keys) {
        const part = await this.#wait(key, true);
        if (part === undefined) {
          await releaseAll(parts);
          return undefined;
        }
        parts.push(part);
        this.held = [...this.held, part];
      }
      await this.#levelTokens(parts);
      return parts;
    } catch (error) {
      await releaseAll(parts);
      throw error;
    }
  }

  /** One token for several keys: larger than every earlier one of each, and every later one shall be larger. */
  async #levelTokens(parts: readonly Part[]): Promise<void> {
    const { backend, bounded } = this.engine;
    for (const part of parts) part.hold.sealed = true;
    if (backend.tokensAreGlobal) return;
    const largest = Math.max(...parts.map((part) => part.token));
    await Promise.all(
      parts.map(({ resource }) => bounded.run(() => backend.raise(resource, largest), 'raising of a token')),
    );
  }

  #wait(key: string, several: boolean): Promise<Part | undefined> {
    const { config, permits } = this.#wish;
    const resource: Resource = { kind: permits === undefined ? 'lock' : 'semaphore', key };
    const outer = permits === undefined ? this.#outer(key) : undefined;
    const waiting = new Waiting(resource, this);
    if (outer === 'busy') waiting.refuse();
    else if (outer !== undefined) {
      this.engine.statistics.count('reentry', config.name);
      const queued = ReentrySlot.of(outer).enter(waiting, config.type === LockType.SHARED);
      if (queued) this.engine.blocked(waiting);
    } else if (permits !== undefined) askAlone(this.engine, waiting, 'permits', permits);
    else if (config.type === LockType.SHARED) askAlone(this.engine, waiting, 'shared');
    else if (several || config.fair || config.priority !== 0) askAlone(this.engine, waiting, 'exclusive');
    else if (this.engine.queueOf(resource).enter(waiting)) this.engine.blocked(waiting);
    this.#busyKey = key;
    return waiting.promise;
  }

  /** The part of an enclosing lock that this request enters again. */
  #outer(key: string): Part | 'busy' | undefined {
    const { type } = this.#wish.config;
    for (const frame of this.#frames) {
      const { lock } = frame;
      const part =
        lock.engine === this.engine ? lock.parts.find((own) => own.resource.key === key) : undefined;
      if (part === undefined || part.resource.kind !== 'lock' || lock.remainingMs() <= 0) continue;
      const both = lock.type === LockType.SHARED;
      if (
        both
          ? type === LockType.SHARED
          : frame.explicit || type === LockType.REENTRANT || lock.type === LockType.REENTRANT
      ) {
        return part;
      }
      // It would wait for itself; who does not wait finds it busy.
      if (!this.patient) return 'busy';
      const owner = this.#wish.config.owner || this.engine.processId;
      throw new DeadlockError([{ key, waitsFor: key, owner }]);
    }
    return undefined;
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

  #acquired(parts: Part[]): HeldLock {
    const { config } = this.#wish;
    const lock = new HeldLock({
      engine: this.engine,
      parts,
      keys: this.#wish.keys,
      type: this.#type,
      config,
      parent: this.#parent,
    });
    this.#count('acquired');
    // Closed while it waited, or lost in the same moment.
    if (this.engine.closed) {
      this.engine.background(() => lock.release(), 'release a lock that came too late');
      throw new LockManagerClosedError();
    }
    return lock;
  }

  #busy(): undefined {
    this.engine.statistics.count('busy');
    return undefined;
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
  async #explain(waiting: Waiting): Promise<Error> {
    const { resource } = waiting;
    const waitedMs = Math.round(this.#waitedMs());
    const position = waiting.host?.positionOf(waiting) ?? 0;
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

  /** As {@link run}, but a wait that ends without the lock is no error. */
  async tryRun(): Promise<HeldLock | undefined> {
    try {
      return await this.run();
    } catch (error) {
      if (error instanceof LockTimeoutError) return undefined;
      throw error;
    }
  }

  /** What `acquireLock` does when a single try found it busy. */
  async throwBusy(): Promise<never> {
    const key = this.#busyKey ?? '';
    const resource: Resource = { kind: this.#wish.permits === undefined ? 'lock' : 'semaphore', key };
    throw this.#counted(await this.#explain(new Waiting(resource, this)));
  }

  #counted<E>(error: E): E {
    this.#count(outcomeOf(error));
    return error;
  }

  #count(outcome: AcquireOutcome): void {
    const end = { outcome, waitedMs: this.#waitedMs(), waited: this.#waited };
    this.engine.statistics.ended(this.#wish.config.name, this.#type, end);
  }
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
