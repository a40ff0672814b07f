import { seenSum, type Counter } from './counters.ts';
import type { Lifetime } from './lifetime.ts';
import type { Scope } from './scope.ts';

/** Compared by identity: an entry that carries another one than its namespace was invalidated. */
export type Validity = object;

/** What is known about an entry beside its value and expiry. One object serves all entries about which nothing special is known. */
export class Facts {
  readonly scope: Scope;
  readonly validity: Validity;
  /** How long past its expiry it may be served at once, and when the loader fails. */
  readonly staleFor: number;
  readonly staleIfError: number;
  /** A loader's error, remembered in place of a value. */
  readonly failed: boolean = false;
  /** Sliding ttl, 0 for none; `hardExpiry` bounds it. */
  readonly idleTtl: number = 0;
  readonly hardExpiry: number = Infinity;
  /** When the second tier last heard that an idle value is in use. */
  touchedAt = 0;
  readonly tags: readonly Counter[] | undefined;
  /** {@link seenSum} of the tags when the load began. */
  readonly tagsSeen: number = 0;
  /** From when on a read loads it again ahead of time. */
  readonly refreshAt: number = Infinity;
  /** Until when a stale value is served without trying the loader, because it just failed. */
  readonly retryAt: number = 0;
  readonly weight: number = 0;

  constructor(
    scope: Scope,
    validity: Validity,
    lifetime: Pick<Lifetime, 'staleFor' | 'staleIfError'>,
    more: Partial<Facts> = {},
  ) {
    this.scope = scope;
    this.validity = validity;
    this.staleFor = lifetime.staleFor;
    this.staleIfError = lifetime.staleIfError;
    Object.assign(this, more);
  }

  /** The same, with the loader left alone for a while. */
  leftAloneUntil(retryAt: number): Facts {
    const lifetime = { staleFor: this.staleFor, staleIfError: this.staleIfError };
    return new Facts(this.scope, this.validity, lifetime, { ...(this as Partial<Facts>), retryAt });
  }

  /** Whether neither the namespace nor a tag was invalidated since. */
  valid(): boolean {
    if (this.validity !== this.scope.validity) return false;
    return this.tags === undefined || seenSum(this.tags) === this.tagsSeen;
  }

  /** Whether the namespace's validity and the expiry are all there is to check on a hit. */
  get simple(): boolean {
    return !this.failed && this.tags === undefined && this.idleTtl === 0 && this.refreshAt === Infinity;
  }
}

/** {@link Facts} as the hit path needs them: one comparison decides. */
export class Details {
  /** Equal to the namespace's validity when only the expiry is left to check. */
  readonly fast: Validity | undefined;
  readonly facts: Facts;
  /** The value as a settled promise, for an entry that is read often; making one costs more than finding the entry. */
  readonly promise: Promise<unknown> | undefined;

  constructor(fast: Validity | undefined, facts: Facts, promise?: Promise<unknown>) {
    this.fast = fast;
    this.facts = facts;
    this.promise = promise;
  }

  static of(facts: Facts): Details {
    return new Details(facts.simple ? facts.validity : undefined, facts);
  }
}

/** What the first tier holds for a key. */
export class Stored {
  value: unknown;
  /** In the cache's own time. */
  expiresAt: number;
  details: Details;

  constructor(value: unknown, expiresAt: number, details: Details) {
    this.value = value;
    this.expiresAt = expiresAt;
    this.details = details;
  }

  get weight(): number {
    return this.details.facts.weight;
  }
}
