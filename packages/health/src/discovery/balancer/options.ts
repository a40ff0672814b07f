import {
  InvalidOptionError,
  NonRetryableError,
  silentLogger,
  systemClock,
  systemRandom,
  toMilliseconds,
  type Clock,
  type Duration,
  type Logger,
  type Random,
} from '@xiaoke/core';

/**
 * How an instance is chosen among those that are well.
 *
 * - `p2c-ewma`: the better of two by latency, load and errors.
 * - `least-request`: the one of two with fewer calls under way.
 * - `round-robin`: in turn, by weight.
 * - `random`: by weight.
 * - `consistent-hash`: the same `key` goes to the same instance as long as it is well.
 */
export type BalancerPolicy = 'p2c-ewma' | 'least-request' | 'round-robin' | 'random' | 'consistent-hash';

/** What a call's end says about the instance; `ignore` is the caller's own affair, such as an abort or a bad request. */
export type CallOutcome = 'ok' | 'error' | 'ignore';

/** When an instance that fails is left out. */
export interface OutlierOptions {
  /** Errors in a row. @default 5 */
  readonly consecutive?: number | undefined;
  /** The share of errors within `window`. @default 0.5 */
  readonly failureRatio?: number | undefined;
  /** Calls within `window` from which the share counts. @default 20 */
  readonly minRequests?: number | undefined;
  /** @default '10s' */
  readonly window?: Duration | undefined;
  /** How long it is left out the first time; each further time that much longer. @default '2s' */
  readonly baseEjection?: Duration | undefined;
  /** @default '60s' */
  readonly maxEjection?: Duration | undefined;
  /**
   * After `baseEjection` it is tried again once so many calls were made elsewhere, even if its time is not over: under load
   * one probe costs next to nothing, and a recovered instance is back soon. @default 2000
   */
  readonly probeEvery?: number | undefined;
  /** The share of the instances that may be left out at once; one always may. @default 0.5 */
  readonly maxEjected?: number | undefined;
}

/** Where the caller is: instances nearby are preferred as long as enough of them are well. */
export interface LocalityOptions {
  readonly zone?: string | undefined;
  readonly region?: string | undefined;
  /** The share of the instances nearby that must be well to keep all traffic there. @default 0.7 */
  readonly spillBelow?: number | undefined;
}

/** How a balancer is made. */
export interface BalancerOptions {
  /** @default 'p2c-ewma' */
  readonly policy?: BalancerPolicy | undefined;
  /** The service to watch, where the source is a registry. */
  readonly service?: string | undefined;
  /** How often a source that is a function is asked. @default '10s' */
  readonly refresh?: Duration | undefined;
  /** How fast a latency is forgotten under load. @default '1s' */
  readonly tau?: Duration | undefined;
  /** What an error counts as, at least, as if it had taken so long. @default '1s' */
  readonly errorPenalty?: Duration | undefined;
  /** `false` turns it off. */
  readonly outlier?: OutlierOptions | false | undefined;
  /** Below this share of well instances, those left out are used too: better some than none. @default 0.5 */
  readonly panicBelow?: number | undefined;
  /** How long a new instance takes to get its full share. @default '10s' */
  readonly slowStart?: Duration | undefined;
  readonly locality?: LocalityOptions | undefined;
  /** Tries of `call()` after the first, each on another instance. @default 1 */
  readonly retries?: number | undefined;
  /** Retries as a share of the calls, beside a small reserve. @default 0.2 */
  readonly retryBudget?: number | undefined;
  /** What the end of a call says; `error` is undefined where it succeeded. */
  readonly classify?: ((error: unknown, result: unknown) => CallOutcome) | undefined;
  readonly logger?: Logger | undefined;
  readonly clock?: Clock | undefined;
  readonly random?: Random | undefined;
}

/** {@link OutlierOptions} with every default filled in; times in milliseconds. */
export interface ResolvedOutlier {
  readonly consecutive: number;
  readonly failureRatio: number;
  readonly minRequests: number;
  readonly windowMs: number;
  readonly baseMs: number;
  readonly maxMs: number;
  readonly probeEvery: number;
  readonly maxEjected: number;
}

/** {@link BalancerOptions} with every default filled in; times in milliseconds. */
export interface ResolvedBalancerOptions {
  readonly policy: BalancerPolicy;
  readonly service: string | undefined;
  readonly refreshMs: number;
  readonly tauMs: number;
  readonly errorPenaltyMs: number;
  readonly outlier: ResolvedOutlier | undefined;
  readonly panicBelow: number;
  readonly slowStartMs: number;
  readonly locality: Readonly<{ zone: string | undefined; region: string | undefined; spillBelow: number }>;
  readonly retries: number;
  readonly retryBudget: number;
  readonly classify: (error: unknown, result: unknown) => CallOutcome;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly random: Random;
}

const POLICIES: readonly string[] = [
  'p2c-ewma',
  'least-request',
  'round-robin',
  'random',
  'consistent-hash',
] satisfies readonly BalancerPolicy[];

/** Fills in defaults and refuses what makes no sense. */
export function resolveBalancerOptions(options: BalancerOptions = {}): ResolvedBalancerOptions {
  const {
    policy = 'p2c-ewma',
    refresh = '10s',
    tau = '1s',
    errorPenalty = '1s',
    slowStart = '10s',
  } = options;
  if (!POLICIES.includes(policy))
    throw new InvalidOptionError('policy', `must be one of ${POLICIES.join(', ')}`);
  return Object.freeze({
    policy,
    service: options.service,
    refreshMs: toMilliseconds(refresh, 'refresh', { min: 10 }),
    tauMs: toMilliseconds(tau, 'tau', { min: 1 }),
    errorPenaltyMs: toMilliseconds(errorPenalty, 'errorPenalty'),
    outlier: options.outlier === false ? undefined : resolveOutlier(options.outlier),
    slowStartMs: toMilliseconds(slowStart, 'slowStart'),
    locality: resolveLocality(options.locality),
    ...resolveShares(options),
    ...surroundings(options),
  });
}

function resolveOutlier(given: OutlierOptions = {}): ResolvedOutlier {
  const { window = '10s', baseEjection = '2s', maxEjection = '60s' } = given;
  const baseMs = toMilliseconds(baseEjection, 'outlier.baseEjection', { min: 1 });
  return Object.freeze({
    consecutive: whole(given.consecutive ?? 5, 'outlier.consecutive', 1),
    failureRatio: share(given.failureRatio ?? 0.5, 'outlier.failureRatio'),
    minRequests: whole(given.minRequests ?? 20, 'outlier.minRequests', 1),
    probeEvery: whole(given.probeEvery ?? 2_000, 'outlier.probeEvery', 1),
    maxEjected: share(given.maxEjected ?? 0.5, 'outlier.maxEjected'),
    windowMs: toMilliseconds(window, 'outlier.window', { min: 1 }),
    baseMs,
    maxMs: toMilliseconds(maxEjection, 'outlier.maxEjection', { min: baseMs }),
  });
}

function resolveLocality(given: LocalityOptions = {}): ResolvedBalancerOptions['locality'] {
  const { zone, region, spillBelow = 0.7 } = given;
  for (const [name, value] of Object.entries({ zone, region })) {
    if (value !== undefined && (typeof value !== 'string' || value === ''))
      throw new InvalidOptionError(`locality.${name}`, 'must be a non-empty string');
  }
  return { zone, region, spillBelow: share(spillBelow, 'locality.spillBelow') };
}

function resolveShares({
  panicBelow = 0.5,
  retries = 1,
  retryBudget = 0.2,
}: BalancerOptions): Pick<ResolvedBalancerOptions, 'panicBelow' | 'retries' | 'retryBudget'> {
  return {
    panicBelow: share(panicBelow, 'panicBelow'),
    retries: whole(retries, 'retries', 0),
    retryBudget: share(retryBudget, 'retryBudget'),
  };
}

function surroundings({
  classify = defaultClassify,
  logger = silentLogger,
  clock = systemClock,
  random = systemRandom,
}: BalancerOptions): Pick<ResolvedBalancerOptions, 'classify' | 'logger' | 'clock' | 'random'> {
  if (typeof classify !== 'function') throw new InvalidOptionError('classify', 'must be a function');
  return { classify, logger, clock, random };
}

/**
 * An error speaks against the instance, and so does an answer with a status of 500 or more. What is the caller's own affair does
 * not: an abort, a bad request, something that must not be tried again.
 */
function defaultClassify(error: unknown, result: unknown): CallOutcome {
  if (error === undefined) return (statusOf(result) ?? 0) >= 500 ? 'error' : 'ok';
  if (error instanceof NonRetryableError) return 'ignore';
  if (error instanceof Error && error.name === 'AbortError') return 'ignore';
  const status = statusOf(error) ?? 0;
  return status >= 400 && status < 500 && !BUSY.has(status) ? 'ignore' : 'error';
}

/** Statuses of the 400s that are the server's affair: it was too slow, or has too much to do. */
const BUSY: ReadonlySet<number> = new Set([408, 429]);

/** Of a Response, or of the errors that HTTP clients make of one. */
function statusOf(value: unknown): number | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { status, statusCode } = value as { readonly status?: unknown; readonly statusCode?: unknown };
  const found = typeof status === 'number' ? status : statusCode;
  return typeof found === 'number' && found >= 100 && found <= 599 ? found : undefined;
}

function share(value: unknown, option: string): number {
  if (typeof value === 'number' && value >= 0 && value <= 1) return value;
  throw new InvalidOptionError(option, 'must lie between 0 and 1');
}

function whole(value: unknown, option: string, least: number): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= least) return value;
  throw new InvalidOptionError(option, `must be a whole number of at least ${least}`);
}
