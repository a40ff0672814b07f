import { randomBytes } from 'node:crypto';
import type { Clock, Logger, Timer } from '@xiaoke/core';
import { RedisScript, RedisSubscriber, type RedisConnection, type RedisLike } from '@xiaoke/core/redis';
import type { SecondTierListener } from '../second-tier.ts';
import { noteScript } from './scripts.generated.ts';
import type { RedisKeys } from './keys.ts';

/** One message: keys of a namespace, or the new versions of counters. */
type Message =
  | { readonly k: readonly string[]; readonly p: string }
  | { readonly c: readonly (readonly [id: string, version: number])[] };

/** How a backplane works. */
export interface BackplaneOptions {
  readonly keys: RedisKeys;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly heartbeat: number;
  readonly listener: SecondTierListener;
  /** Reads the number of the last message; rejects while Redis is away. */
  readonly readSequence: () => Promise<number>;
  /** Nothing heard so far counts; `first` is when nothing was heard before. */
  readonly onGap: (first: boolean) => void;
}

const NOTE = new RedisScript(noteScript.source);
// A message that was published before the sequence was read may still be on its way here.
const GRACE = 50;
const MAX_KEYS = 500;

/**
 * Invalidations between processes. Messages carry a number, so that one that was missed is noticed: by the next one, after
 * a reconnection, or by the heartbeat, which compares the last number seen with the last one given.
 */
export class Backplane {
  readonly #options: BackplaneOptions;
  readonly #origin = randomBytes(9).toString('base64url');
  #subscriber: RedisSubscriber | undefined;
  #timer: Timer | undefined;
  #last: number | undefined;
  #closed = false;
  #settled!: () => void;
  /** Resolves once messages are heard, and it is known where they begin. */
  readonly listening: Promise<void>;

  constructor(options: BackplaneOptions) {
    this.#options = options;
    this.listening = new Promise((resolve) => {
      this.#settled = resolve;
    });
  }

  /** Listens, from as soon as the server is there. */
  start(connection: RedisConnection): void {
    const { clock, logger, heartbeat, keys } = this.#options;
    this.#subscriber = new RedisSubscriber(connection, {
      onGap: () => void this.check(),
      probeEvery: heartbeat,
      logger,
      clock,
    });
    // Rejects with the server away, and subscribes by itself once it is back.
    this.#subscriber.subscribe(keys.channel, this.#receive).then(
      () => this.check(),
      () => {},
    );
    this.#timer = clock.setInterval(() => void this.check(), heartbeat).unref();
  }

  /** Compares what was heard with what was said. Resolves when it is known, or Redis is away. */
  async check(): Promise<void> {
    const { clock, readSequence } = this.#options;
    try {
      const said = await readSequence();
      if (this.#closed || this.#last === said) return;
      if (this.#last === undefined || said < this.#last) {
        this.#missed(said);
        return;
      }
      await new Promise<void>((resolve) => {
        clock.setTimeout(resolve, GRACE).unref();
      });
      if (!this.#closed && this.#last < said) this.#missed(said);
    } catch {
      // Away: there is nothing to compare with, and it is done again on the way back.
    }
  }

  /** Tells the others which keys of a namespace were deleted or overwritten. */
  async tellKeys(client: RedisLike, path: string, keys: readonly string[]): Promise<void> {
    const parts: Promise<void>[] = [];
    for (let from = 0; from < keys.length; from += MAX_KEYS)
      parts.push(this.#tell(client, { p: path, k: keys.slice(from, from + MAX_KEYS) }));
    await Promise.all(parts);
  }

  async tellCounters(client: RedisLike, versions: readonly (readonly [string, number])[]): Promise<void> {
    await this.#tell(client, { c: versions });
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
    this.#subscriber?.close();
  }

  async #tell(client: RedisLike, message: Message): Promise<void> {
    const { keys } = this.#options;
    await NOTE.run(client, [keys.sequence], [keys.channel, `${this.#origin}:${JSON.stringify(message)}`]);
  }

  readonly #receive = (text: string): void => {
    const [, number = '', origin, body = ''] = /^(\d+):([\w-]+):(.*)$/su.exec(text) ?? [];
    const message = parse(body);
    if (message === undefined) return;
    if (origin !== this.#origin) this.#deliver(message);
    this.#count(Number(number));
  };

  #deliver(message: Message): void {
    const { listener } = this.#options;
    if ('k' in message) listener.onKeys(message.p, message.k);
    else listener.onCounters(message.c);
  }

  // 0 is a message that could not be numbered.
  #count(number: number): void {
    const last = this.#last;
    if (last === undefined || number === 0) return;
    if (number > last + 1) this.#missed(number);
    else if (number > last) this.#last = number;
  }

  #missed(said: number): void {
    const first = this.#last === undefined;
    this.#last = said;
    this.#options.onGap(first);
    this.#settled();
  }
}

/** Undefined for anything that is not one of our messages: anybody may publish on a channel. */
function parse(body: string): Message | undefined {
  try {
    const message: unknown = JSON.parse(body);
    if (typeof message !== 'object' || message === null) return undefined;
    const { k, p, c } = message as { k?: unknown; p?: unknown; c?: unknown };
    if (Array.isArray(k) && typeof p === 'string' && k.every((key) => typeof key === 'string'))
      return { k, p };
    return Array.isArray(c) && c.every(isVersion) ? { c } : undefined;
  } catch {
    return undefined;
  }
}

function isVersion(value: unknown): value is readonly [string, number] {
  return Array.isArray(value) && typeof value[0] === 'string' && typeof value[1] === 'number';
}
