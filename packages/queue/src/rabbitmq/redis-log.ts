import { sleep, type Background, type Clock } from '@xiaoke/core';
import type { RedisConnection, RedisLike } from '@xiaoke/core/redis';
import type { LedgerLog, LogReader, LogSnapshot } from './ledger-log.ts';

/** What a log in Redis needs. */
export interface RedisLogOptions {
  readonly connection: RedisConnection;
  readonly namespace: string;
  readonly clock: Clock;
  readonly background: Background;
  readonly troubled: (error: unknown) => void;
}

type Entry = readonly [id: string, fields: readonly string[]];

const BLOCK = 2_000;
// A read that should have come back by then is on a connection that is gone.
const SILENCE = BLOCK + 3_000;
const COUNT = 500;
const RETRY = 100;

/**
 * A log in a Redis stream, with the last snapshot in a hash beside it. What is older than the snapshot before the last is
 * trimmed, so a reader that was away for a while goes on where it was.
 */
export class RedisLog implements LedgerLog {
  readonly #options: RedisLogOptions;
  readonly #stream: string;
  readonly #snapshot: string;
  #reader: LogReader | undefined;
  #blocking: RedisLike | undefined;
  #retrying = false;
  #closed = false;

  constructor(options: RedisLogOptions) {
    this.#options = options;
    this.#stream = `xq:{${options.namespace}}:ledger`;
    this.#snapshot = `xq:{${options.namespace}}:ledger:snapshot`;
  }

  start(reader: LogReader): void {
    if (this.#reader !== undefined) return;
    this.#reader = reader;
    this.#options.background.run(() => this.#follow(reader), 'read the ledger');
    reader.connected();
  }

  append(text: string): void {
    this.#options.background.run(async () => {
      try {
        await this.#options.connection.client.call('XADD', this.#stream, '*', 'e', text);
      } catch {
        await this.#again();
      }
    }, 'append to the ledger');
  }

  async keep({ position, text }: LogSnapshot): Promise<void> {
    const { client } = this.#options.connection;
    const [before] = (await client.call('HMGET', this.#snapshot, 'position')) as (string | null)[];
    const trimmed = Number(before ?? 0);
    if (position >= 0 && trimmed > position) return;
    await client.call('HSET', this.#snapshot, 'position', position, 'text', text, 'trimmed', trimmed);
    if (trimmed > 0) await client.call('XTRIM', this.#stream, 'MINID', idOf(trimmed));
  }

  async close(timeoutMs: number): Promise<void> {
    this.#closed = true;
    this.#blocking?.disconnect();
    await this.#options.connection.close(timeoutMs);
  }

  /** What could not be appended is sent again, together with everything else that was not read back. */
  async #again(): Promise<void> {
    if (this.#retrying || this.#closed) return;
    this.#retrying = true;
    await sleep(RETRY, { clock: this.#options.clock, ref: false });
    this.#retrying = false;
    if (!this.#closed) this.#reader?.connected();
  }

  async #follow(reader: LogReader): Promise<void> {
    const { clock, troubled } = this.#options;
    let fresh = true;
    for (let failures = 0; !this.#closed;) {
      try {
        if (fresh) await this.#catchUp(reader);
        fresh = false;
        await this.#read(reader);
        failures = 0;
      } catch (error) {
        if (this.#closed) return;
        if (failures === 0) troubled(error);
        failures += 1;
        fresh = true;
        this.#blocking?.disconnect();
        this.#blocking = undefined;
        await sleep(Math.min(50 * 2 ** failures, 1_000), { clock, ref: false });
      }
    }
  }

  async #read(reader: LogReader): Promise<void> {
    const { connection } = this.#options;
    this.#blocking ??= connection.duplicate({ maxRetriesPerRequest: 0, commandTimeout: SILENCE });
    const from = idOf(reader.position());
    const reply = await this.#blocking.call(
      'XREAD',
      'COUNT',
      COUNT,
      'BLOCK',
      BLOCK,
      'STREAMS',
      this.#stream,
      from,
    );
    for (const [id, fields] of entriesOf(reply))
      reader.entry({ position: positionOf(id), text: fields[1] ?? '' });
  }

  async #catchUp(reader: LogReader): Promise<void> {
    const { client } = this.#options.connection;
    const reply = await client.call('HMGET', this.#snapshot, 'position', 'trimmed', 'text');
    const [position, trimmed, text] = reply as (string | null)[];
    if (position === null || position === undefined) {
      // Redis has lost the log, and we still have what it said.
      if (reader.position() >= 0 && Number(await client.call('EXISTS', this.#stream)) === 0) reader.emptied();
      return;
    }
    if (reader.position() < 0 || reader.position() < Number(trimmed))
      reader.restore({ position: Number(position), text: text ?? '' });
  }
}

// A place is the id as one number: milliseconds, and what was added in the same one.
const PER_MILLISECOND = 4_096;

function positionOf(id: string): number {
  const [time = 0, sequence = 0] = id.split('-').map(Number);
  return time * PER_MILLISECOND + sequence;
}

function idOf(position: number): string {
  if (position < 0) return '0-0';
  return `${Math.floor(position / PER_MILLISECOND)}-${position % PER_MILLISECOND}`;
}

/** RESP2 gives a list of pairs, RESP3 a map that ioredis flattens. */
function entriesOf(reply: unknown): readonly Entry[] {
  if (!Array.isArray(reply)) return [];
  const [first, second]: readonly unknown[] = reply;
  return (Array.isArray(first) ? first[1] : second) as readonly Entry[];
}
