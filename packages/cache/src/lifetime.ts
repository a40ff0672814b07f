import { InvalidOptionError, toMilliseconds, type Duration } from '@xiaoke/core';
import { checkKey } from './errors.ts';

/** How long values live and when they are loaded again. Options of a cache; most can be given with a call too. */
export interface LifetimeOptions {
  /** How long a value is fresh; `Infinity` is allowed. @default '5m' */
  readonly ttl?: Duration | undefined;
  /** Spreads the ttl evenly by this fraction up and down, so that what was written together does not expire together. @default 0 */
  readonly ttlJitter?: number | undefined;
  /** A value that nobody reads for this long expires early; a read puts it off, never beyond `ttl`. @default off */
  readonly idleTtl?: Duration | undefined;
  /** The ttl of a load that gave `undefined` or `null`. @default `undefined` is not kept, `null` is kept like any value */
  readonly negativeTtl?: Duration | undefined;
  /** How long a failed load is remembered: the same error, without calling the loader. @default 0 */
  readonly errorTtl?: Duration | undefined;
  /** How long past its ttl a value is still served at once while it is loaded again. @default 0 */
  readonly staleFor?: Duration | undefined;
  /** How long past its ttl a value is served when the loader fails, or is slower than `softTimeout`. @default `staleFor` */
  readonly staleIfError?: Duration | undefined;
  /** After a failed load for which a stale value was served: how long until the loader is tried again. @default '5s' */
  readonly errorThrottle?: Duration | undefined;
  /** How long a call waits for the loader while a stale value exists; the load goes on. @default off */
  readonly softTimeout?: Duration | undefined;
  /** How long a loader may take; then its signal fires and its callers get a `LoaderTimeoutError`. @default '30s' */
  readonly loaderTimeout?: Duration | undefined;
  /**
   * Loads a value that is in use again before it expires, early enough that nobody waits: at `ttl` minus a random multiple
   * of the time the load took. `true` is a factor of 1, a larger number refreshes earlier. @default false
   */
  readonly earlyRefresh?: boolean | number | undefined;
}

/** What can be said about one value when it is written. */
export interface SetOptions extends Pick<
  LifetimeOptions,
  'ttl' | 'ttlJitter' | 'idleTtl' | 'staleFor' | 'staleIfError'
> {
  /** The value is gone once one of these is invalidated. At most 32. */
  readonly tags?: readonly string[] | undefined;
}

/** What can be said about one load. */
export interface LoadOptions extends LifetimeOptions, Pick<SetOptions, 'tags'> {
  /** Loads even if there is a value. @default false */
  readonly refresh?: boolean | undefined;
  /** Stops waiting: the call rejects with `signal.reason`; the load itself goes on for others. */
  readonly signal?: AbortSignal | undefined;
}

/** {@link LifetimeOptions} in milliseconds. */
export interface Lifetime {
  readonly ttl: number;
  readonly ttlJitter: number;
  /** 0 for none. */
  readonly idleTtl: number;
  /** Undefined when an absent value is not kept. */
  readonly negativeTtl: number | undefined;
  readonly errorTtl: number;
  readonly staleFor: number;
  readonly staleIfError: number;
  readonly errorThrottle: number;
  /** Infinity for none. */
  readonly softTimeout: number;
  readonly loaderTimeout: number;
  /** 0 for none. */
  readonly earlyRefresh: number;
}

const DEFAULTS: Lifetime = {
  ttl: 300_000,
  ttlJitter: 0,
  idleTtl: 0,
  negativeTtl: undefined,
  errorTtl: 0,
  staleFor: 0,
  staleIfError: 0,
  errorThrottle: 5_000,
  softTimeout: Infinity,
  loaderTimeout: 30_000,
  earlyRefresh: 0,
};

const NAMES = Object.keys(DEFAULTS) as readonly (keyof Lifetime)[];
const MAX_TAGS = 32;

/**
 * Fills `options` up from `base`.
 *
 * @throws InvalidOptionError for the first that is not usable
 */
export function resolveLifetime(options: LifetimeOptions | undefined, base: Lifetime = DEFAULTS): Lifetime {
  if (options === undefined) return base;
  if (typeof options !== 'object' || options === null)
    throw new InvalidOptionError('options', 'must be an object');
  if (NAMES.every((name) => options[name] === undefined)) return base;
  const duration = (name: keyof LifetimeOptions, fallback: number, max = Infinity): number => {
    const value = options[name];
    return value === undefined ? fallback : toMilliseconds(value as Duration, name, { max });
  };
  const staleFor = duration('staleFor', base.staleFor);
  const staleIfError = Math.max(staleFor, duration('staleIfError', base.staleIfError));
  return Object.freeze({
    ttl: ttlOf(options.ttl, base.ttl),
    ttlJitter: jitterOf(options.ttlJitter, base.ttlJitter),
    idleTtl: duration('idleTtl', base.idleTtl),
    negativeTtl: options.negativeTtl === undefined ? base.negativeTtl : duration('negativeTtl', 0),
    errorTtl: duration('errorTtl', base.errorTtl),
    staleFor,
    staleIfError,
    errorThrottle: duration('errorThrottle', base.errorThrottle),
    softTimeout: duration('softTimeout', base.softTimeout),
    loaderTimeout: timeoutOf(options.loaderTimeout, base.loaderTimeout),
    earlyRefresh: earlyOf(options.earlyRefresh, base.earlyRefresh),
  });
}

/** @throws InvalidOptionError for the first option that is not usable; for options that are kept for later calls */
export function checkLoadOptions(options: LoadOptions): void {
  resolveLifetime(options);
  checkTags(options.tags);
}

/** @throws InvalidOptionError unless `tags` is a list of at most 32 usable strings */
export function checkTags(tags: unknown, option = 'tags'): readonly string[] {
  if (tags === undefined) return NO_TAGS;
  if (!Array.isArray(tags)) throw new InvalidOptionError(option, 'must be a list of strings');
  if (tags.length > MAX_TAGS) throw new InvalidOptionError(option, `must have at most ${MAX_TAGS} tags`);
  for (const tag of tags) checkTag(tag, option);
  return tags.length > 1 ? [...new Set<string>(tags)].toSorted() : tags;
}

const NO_TAGS: readonly string[] = Object.freeze([]);

/** @throws InvalidOptionError unless `tag` could be a key of at most 255 bytes */
export function checkTag(tag: unknown, option = 'tags'): asserts tag is string {
  try {
    checkKey(tag);
  } catch (error) {
    throw new InvalidOptionError(option, 'must hold non-empty strings without control characters', {
      cause: error,
    });
  }
  if (Buffer.byteLength(tag) > 255)
    throw new InvalidOptionError(option, 'must hold tags of at most 255 bytes');
}

function ttlOf(ttl: Duration | undefined, fallback: number): number {
  return ttl === undefined ? fallback : toMilliseconds(ttl, 'ttl', { min: 1, max: Infinity });
}

function timeoutOf(timeout: Duration | undefined, fallback: number): number {
  return timeout === undefined
    ? fallback
    : toMilliseconds(timeout, 'loaderTimeout', { min: 1, max: 86_400_000 });
}

function jitterOf(jitter: number | undefined, fallback: number): number {
  if (jitter === undefined) return fallback;
  if (typeof jitter !== 'number' || !(jitter >= 0 && jitter < 1))
    throw new InvalidOptionError('ttlJitter', 'must be a fraction from 0 up to, but not including, 1');
  return jitter;
}

function earlyOf(early: boolean | number | undefined, fallback: number): number {
  if (early === undefined) return fallback;
  if (typeof early === 'boolean') return early ? 1 : 0;
  if (typeof early !== 'number' || !(early >= 0 && early <= 100))
    throw new InvalidOptionError('earlyRefresh', 'must be true, false or a factor from 0 to 100');
  return early;
}
