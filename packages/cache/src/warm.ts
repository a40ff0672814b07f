import { InvalidOptionError, sleep, type Clock, type Logger } from '@xiaoke/core';
import type { CacheManager, CacheRecord, WarmOptions, WarmReport, WarmSource } from './cache-manager.ts';

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
type Progress = Mutable<WarmReport> & { errors: { key: string; error: unknown }[] };

/** What a warming needs of its cache. */
export interface WarmParts {
  readonly clock: Clock;
  readonly logger: Logger;
  /** Fires when the cache is closed. */
  readonly ended: AbortSignal;
}

const KEPT_ERRORS = 10;
// How many milliseconds' worth of records may be written at once after a pause: a timer is not exact.
const CATCH_UP = 50;

/** Writes everything a source gives, `concurrency` at a time. */
export async function warm<V>(
  cache: CacheManager<V>,
  source: WarmSource<V>,
  { clock, logger, ended }: WarmParts,
  options: WarmOptions = {},
): Promise<WarmReport> {
  const { concurrency = 16, rate = Infinity } = options;
  if (!Number.isSafeInteger(concurrency) || concurrency < 1)
    throw new InvalidOptionError('concurrency', 'must be a whole number of at least 1');
  if (typeof rate !== 'number' || !(rate > 0)) throw new InvalidOptionError('rate', 'must be greater than 0');
  const signal = options.signal === undefined ? ended : AbortSignal.any([options.signal, ended]);
  const pace = new Pace(rate, clock, signal);
  const started = clock.monotonic();
  const records = iteratorOf(typeof source === 'function' ? await source() : source);
  const report: Progress = { written: 0, skipped: 0, failed: 0, errors: [], durationMs: 0, complete: false };
  const tell = (): void => {
    try {
      options.onProgress?.({ ...report });
    } catch (error) {
      logger.error({ err: error }, 'onProgress of a warming failed');
    }
  };
  const worker = async (): Promise<void> => {
    while (await pace.turn()) {
      const next = await records.next();
      if (next.done === true) {
        report.complete = true;
        return;
      }
      await writeOne(cache, next.value, report, options);
      report.durationMs = clock.monotonic() - started;
      tell();
    }
  };
  const ends = await Promise.allSettled(Array.from({ length: concurrency }, worker));
  // Only the source itself can fail here.
  for (const end of ends) if (end.status === 'rejected') throw end.reason;
  // A source that is stopped early may hold a cursor or a file open.
  if (!report.complete) await records.return?.();
  report.durationMs = clock.monotonic() - started;
  return report;
}

/** Lets work begin so many times a second. */
class Pace {
  readonly #clock: Clock;
  readonly #signal: AbortSignal;
  /** Milliseconds between two turns. */
  readonly #distance: number;
  #next: number;

  constructor(rate: number, clock: Clock, signal: AbortSignal) {
    this.#distance = 1_000 / rate;
    this.#clock = clock;
    this.#signal = signal;
    this.#next = clock.monotonic();
  }

  /** Waits for the next turn; false when it was stopped. */
  async turn(): Promise<boolean> {
    if (this.#distance > 0) {
      const now = this.#clock.monotonic();
      const turn = Math.max(this.#next, now - CATCH_UP);
      this.#next = turn + this.#distance;
      if (turn > now) await sleep(turn - now, { clock: this.#clock, signal: this.#signal }).catch(() => {});
    }
    return !this.#signal.aborted;
  }
}

type AnyIterator<V> = AsyncIterator<CacheRecord<V>> | Iterator<CacheRecord<V>>;

function iteratorOf<V>(source: unknown): AnyIterator<V> {
  if (typeof source === 'object' && source !== null) {
    if (Symbol.asyncIterator in source)
      return (source as AsyncIterable<CacheRecord<V>>)[Symbol.asyncIterator]();
    if (Symbol.iterator in source) return (source as Iterable<CacheRecord<V>>)[Symbol.iterator]();
  }
  throw new InvalidOptionError('source', 'must be iterable, or a function that gives something iterable');
}

async function writeOne<V>(
  cache: CacheManager<V>,
  record: CacheRecord<V>,
  report: Progress,
  { onlyMissing = false }: WarmOptions,
): Promise<void> {
  try {
    const [key, value, own] = record;
    if (onlyMissing && (await cache.has(key))) {
      report.skipped += 1;
      return;
    }
    await cache.set(key, value, own);
    report.written += 1;
  } catch (error) {
    report.failed += 1;
    const key: unknown = Array.isArray(record) ? record[0] : undefined;
    if (report.errors.length < KEPT_ERRORS)
      report.errors.push({ key: typeof key === 'string' ? key : '', error });
  }
}
