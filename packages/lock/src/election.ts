import { onAbort } from '@xiaoke/core';
import type { LockEngine } from './engine.ts';
import { describeRecord } from './inspection.ts';
import type { Lock } from './lock.ts';
import { resolveKeys, type LockConfig } from './options.ts';

/** How a candidate campaigns. */
export type ElectionConfig = Pick<LockConfig, 'ttl' | 'priority' | 'name' | 'owner' | 'signal'>;

/** A time of leadership. */
export interface Term {
  /** Larger than that of every earlier leader. */
  readonly fencingToken: number;
  /** Fires when the leadership is lost, no later than another one can have it. */
  readonly signal: AbortSignal;
  /** @throws {@link LockLostError} when it is not certain to lead any more */
  assertLeading(): void;
  /** Gives it up; another candidate takes over at once. */
  resign(): Promise<boolean>;
}

/** Who leads. */
export interface Leader {
  readonly owner: string;
  readonly host: string;
  readonly pid: number;
  readonly fencingToken: number;
}

/** One leader among all candidates of the same name. */
export interface Election extends AsyncDisposable {
  readonly name: string;
  /** Whether this candidate is certain to lead now. */
  readonly leading: boolean;
  /** Waits to become the leader. */
  campaign(config?: Pick<LockConfig, 'wait' | 'signal'>): Promise<Term>;
  /** Campaigns for ever; runs `lead` in every term, and again after a term was lost. Ends when `signal` fires. */
  run(lead: (term: Term) => Promise<void>, options?: { readonly signal?: AbortSignal }): Promise<void>;
  /** Who leads, as the backend knows it. */
  leader(): Promise<Leader | undefined>;
  /** Gives the present leader, and then every change, until `signal` fires. */
  observe(options?: { readonly signal?: AbortSignal }): AsyncIterable<Leader | undefined>;
  /** Gives up the present term, if there is one. */
  resign(): Promise<boolean>;
}

/** Where the lock of an election comes from. */
export interface LockSource {
  acquireLock(key: string, config: LockConfig): Promise<Lock>;
}

/** How often an observer looks when nobody tells it anything, in milliseconds. */
const OBSERVE_EVERY = 1_000;

/** Used by `LockManager.election`. */
export function createElection(
  locks: LockSource,
  engine: LockEngine,
  name: string,
  config: ElectionConfig = {},
): Election {
  return new LockElection(locks, engine, name, config);
}

class LockElection implements Election {
  readonly name: string;
  readonly #key: string;
  readonly #locks: LockSource;
  readonly #engine: LockEngine;
  readonly #config: ElectionConfig;
  #lock: Lock | undefined;

  constructor(locks: LockSource, engine: LockEngine, name: string, config: ElectionConfig) {
    resolveKeys(name);
    this.name = name;
    // A lock of the same name is another thing.
    this.#key = `election/${name}`;
    this.#locks = locks;
    this.#engine = engine;
    this.#config = config;
  }

  get leading(): boolean {
    return (this.#lock?.remainingMs() ?? 0) > 0;
  }

  async campaign(config: Pick<LockConfig, 'wait' | 'signal'> = {}): Promise<Term> {
    const { ttl, priority, owner, name = 'election', signal } = this.#config;
    const terms = { ttl, priority, owner, name, signal, autoExtend: true, fair: true, wait: Infinity };
    const lock = await this.#locks.acquireLock(this.#key, { ...terms, ...config });
    this.#lock = lock;
    return {
      fencingToken: lock.fencingToken,
      signal: lock.signal,
      assertLeading: () => lock.assertHeld(),
      resign: () => lock.release(),
    };
  }

  async run(
    lead: (term: Term) => Promise<void>,
    { signal = this.#config.signal }: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<void> {
    const stopped = (): boolean => signal?.aborted === true || this.#engine.closed;
    while (!stopped()) {
      const term = await this.campaign({ wait: Infinity, signal }).catch((error: unknown) => {
        if (stopped()) return undefined;
        throw error;
      });
      if (term === undefined) return;
      await this.#lead(term, lead);
    }
  }

  async leader(): Promise<Leader | undefined> {
    const { backend, bounded } = this.#engine;
    const resource = { kind: 'lock', key: this.#key } as const;
    const record = await bounded.run(() => backend.inspect(resource), 'inspection');
    const [holder] = describeRecord(this.#engine, record).holders;
    if (holder === undefined) return undefined;
    const { owner, host, pid, fencingToken } = holder;
    return { owner, host, pid, fencingToken };
  }

  async *observe({ signal }: { readonly signal?: AbortSignal } = {}): AsyncIterable<Leader | undefined> {
    let seen: number | undefined | null = null;
    while (signal?.aborted !== true && !this.#engine.closed) {
      const change = this.#change(signal);
      const leader = await this.leader();
      if (leader?.fencingToken !== seen) {
        seen = leader?.fencingToken;
        yield leader;
      }
      await change;
    }
  }

  resign(): Promise<boolean> {
    return this.#lock?.release() ?? Promise.resolve(false);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.resign();
  }

  async #lead(term: Term, lead: (term: Term) => Promise<void>): Promise<void> {
    try {
      await lead(term);
    } finally {
      await term.resign();
    }
  }

  /** Resolves when somebody else may lead, when it is time to look anyway, or when `signal` fires. */
  #change(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve) => {
      const end = (): void => {
        this.#engine.waits.cancel(timer);
        unwatch();
        off();
        resolve();
      };
      const timer = this.#engine.waits.after(OBSERVE_EVERY, end);
      const unwatch = this.#engine.watch(this.#key, end);
      const off = onAbort(signal, () => queueMicrotask(end));
    });
  }
}
