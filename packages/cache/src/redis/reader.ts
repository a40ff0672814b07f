import type { RedisLike } from '@xiaoke/core/redis';
import type { Gate } from './gate.ts';

type Settle = (reply: Promise<Buffer | null>) => void;

// One reply of this many values keeps the event loop for a millisecond or so.
const MAX_KEYS = 500;

/**
 * Reads keys. All reads of one turn of the event loop go out as one MGET, which costs Redis and this process less than half
 * of what as many GETs cost, pipelined or not (apps/bench/src/cache/redis-reads.ts). On a Cluster, where keys lie in
 * different slots, they go out one by one.
 */
export class Reader {
  readonly #gate: Gate;
  #waiting = new Map<string, Settle[]>();

  constructor(gate: Gate) {
    this.#gate = gate;
  }

  /** Rejects with AwayError. */
  read(key: string): Promise<Buffer | null> {
    return new Promise((resolve) => {
      // nextTick runs once the promise jobs have run dry, so that whoever was woken by one reply asks in one question.
      if (this.#waiting.size === 0) process.nextTick(this.#flush);
      const settlers = this.#waiting.get(key);
      if (settlers === undefined) this.#waiting.set(key, [resolve]);
      else settlers.push(resolve);
    });
  }

  readonly #flush = (): void => {
    const waiting = this.#waiting;
    this.#waiting = new Map();
    const keys = [...waiting.keys()];
    for (let from = 0; from < keys.length; from += MAX_KEYS)
      this.#send(keys.slice(from, from + MAX_KEYS), waiting);
  };

  #send(keys: readonly string[], waiting: ReadonlyMap<string, Settle[]>): void {
    const replies = this.#gate.run((client) => this.#ask(client, keys));
    keys.forEach((key, i) => {
      const reply = replies.then((values) => values[i] ?? null);
      // Those who wait take the rejection over; nothing is left unhandled when nobody does.
      reply.catch(() => {});
      for (const settle of waiting.get(key) ?? []) settle(reply);
    });
  }

  async #ask(client: RedisLike, keys: readonly string[]): Promise<(Buffer | null)[]> {
    const cluster = this.#gate.connection?.cluster === true;
    if (cluster || keys.length === 1)
      return Promise.all(keys.map((key) => client.callBuffer('GET', key) as Promise<Buffer | null>));
    return (await client.callBuffer('MGET', ...keys)) as (Buffer | null)[];
  }
}
