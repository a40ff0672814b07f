import { Background, sleep, withTimeout, type Clock, type Logger, type Random } from '@xiaoke/core';
import { renewConnection, type RedisConnection, type RedisLike } from '@xiaoke/core/redis';
import type { StoreListener, StoreNews } from '../store.ts';

/** What a reader of the log needs. */
export interface LogReaderOptions {
  readonly connection: RedisConnection;
  readonly key: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly listener: StoreListener;
  /** The id after which to read. */
  readonly from: string;
}

// Also how long a store may hold something else without a log entry telling so: a restored dump, a lost log.
const BLOCK = 2_000;
const ANSWER_GRACE = 2_000;
const RETRY_MAX = 1_000;

/**
 * Waits on the store's log with a blocking read on a connection of its own. Unlike a subscription, a read resumes where
 * it was after a lost connection; and every entry, every silent interval and every reconnection is only a hint to look
 * at the head.
 */
export class LogReader {
  readonly #options: LogReaderOptions;
  readonly #client: RedisLike;
  readonly #background: Background;
  readonly #stop = new AbortController();
  #last: string;

  constructor(options: LogReaderOptions) {
    this.#options = options;
    this.#last = options.from;
    this.#background = new Background({ logger: options.logger });
    this.#client = options.connection.duplicate({
      lazyConnect: true,
      maxRetriesPerRequest: 0,
      autoResendUnfulfilledCommands: false,
      enableOfflineQueue: true,
      connectTimeout: 2_000,
      // The loop below waits by itself; this only has to come back soon.
      retryStrategy: (times: number) =>
        Math.min(50 * 2 ** Math.min(times, 5), RETRY_MAX) * (0.5 + options.random() / 2),
    });
  }

  start(): void {
    this.#background.run(() => this.#loop(), 'follow the log of the store');
  }

  /** The entries up to `id` have been taken into account by a look at the head. */
  moveTo(id: string): void {
    this.#last = id;
  }

  async close(): Promise<void> {
    this.#stop.abort();
    this.#client.disconnect();
    await this.#background.settled(500);
  }

  async #loop(): Promise<void> {
    const { listener, clock, random } = this.#options;
    const { signal } = this.#stop;
    for (let failures = 0; !signal.aborted;) {
      try {
        const news = await this.#read();
        if (failures > 0) listener.onAvailable();
        // After a time without connection the log alone is not believed: it may have been cut, or be another.
        listener.onHint(failures === 0 ? news : undefined);
        failures = 0;
        // What came is passed on before more is asked for, which is a call into the kernel.
        await turn();
      } catch (error) {
        if (signal.aborted) return;
        failures += 1;
        listener.onUnavailable(error instanceof Error ? error.name : 'unknown');
        renewConnection(this.#client);
        const wait = Math.min(RETRY_MAX, 25 * 2 ** Math.min(failures, 6)) * (0.5 + random() / 2);
        await sleep(wait, { clock, signal, ref: false }).catch(() => {});
      }
    }
  }

  /** Waits for entries; gives the commits they tell, or `undefined` when there is anything else to look at. */
  async #read(): Promise<readonly StoreNews[] | undefined> {
    const { clock, key } = this.#options;
    const command = this.#client.call('XREAD', 'BLOCK', BLOCK, 'STREAMS', key, this.#last);
    // A connection that is open and dead answers nothing, not even that the time is over.
    const reply = await withTimeout(command, BLOCK + ANSWER_GRACE, 'XREAD', { clock, ref: false });
    const entries = entriesOf(reply);
    this.#last = entries.at(-1)?.id ?? this.#last;
    const news = entries.flatMap(({ fields }) => newsOf(fields) ?? []);
    return news.length > 0 && news.length === entries.length ? news : undefined;
  }
}

function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

interface LogEntry {
  readonly id: string;
  readonly fields: ReadonlyMap<string, string>;
}

/**
 * The entries of an XREAD reply: `[[key, [[id, [field, value, ...]], ...]]]` by RESP2 and by ioredis 5, and one level less
 * by RESP3, where it is a map; nothing when the time was over.
 */
function entriesOf(reply: unknown): LogEntry[] {
  const [first, second] = itemsOf(reply);
  const entries = itemsOf(Array.isArray(first) ? itemsOf(first)[1] : second);
  return entries.map((entry) => {
    const [id, list] = itemsOf(entry);
    const texts = itemsOf(list).map(String);
    const pairs = Array.from({ length: texts.length / 2 }, (_, index) => [
      texts[index * 2] ?? '',
      texts[index * 2 + 1] ?? '',
    ]);
    return { id: String(id), fields: new Map(pairs as [string, string][]) };
  });
}

function itemsOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function newsOf(fields: ReadonlyMap<string, string>): StoreNews | undefined {
  const [digest, on, document] = [fields.get('digest'), fields.get('on'), fields.get('document')];
  if (digest === undefined || on === undefined || document === undefined) return undefined;
  const follows = { version: Number(fields.get('follows')), digest: on };
  return { follows, version: Number(fields.get('version')), digest, document };
}
