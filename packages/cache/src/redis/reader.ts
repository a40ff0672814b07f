import type { RedisLike } from '@xiaoke/core/redis';
import type { Gate } from './gate.ts';

/** Gets what a key holds: null for nothing, undefined when Redis is away. Must not throw. */
export type Receive = (bytes: Buffer | null | undefined) => void;

// One reply of this many values keeps the event loop for a millisecond or so.
const MAX_KEYS = 500;

/**
 * Reads keys. All reads of one turn of the event loop go out as one MGET, which costs this process a fraction of what as many
 * GETs cost, pipelined or not (apps/bench/src/cache/redis-reads.ts). On a Cluster, where keys lie in different slots, they
 * go out one by one. It calls back instead of giving a promise, because at this rate promises are most of the cost.
 */
export class Reader {
  readonly #gate: Gate;
  #keys: string[] = [];
  #receivers: Receive[] = [];

  constructor(gate: Gate) {
    this.#gate = gate;
  }

  read(key: string, receive: Receive): void {
    // nextTick runs once the promise jobs have run dry, so that whoever was woken by one reply asks in one question.
    if (this.#keys.length === 0) process.nextTick(this.#flush);
    this.#keys.push(key);
    this.#receivers.push(receive);
  }

  readonly #flush = (): void => {
    const keys = this.#keys;
    const receivers = this.#receivers;
    this.#keys = [];
    this.#receivers = [];
    if (keys.length <= MAX_KEYS) {
      void this.#send(keys, receivers);
      return;
    }
    for (let from = 0; from < keys.length; from += MAX_KEYS)
      void this.#send(keys.slice(from, from + MAX_KEYS), receivers.slice(from, from + MAX_KEYS));
  };

  async #send(keys: readonly string[], receivers: readonly Receive[]): Promise<void> {
    let values: readonly (Buffer | null)[] | undefined;
    try {
      values = await this.#gate.run('read', (client) => this.#ask(client, keys));
    } catch {
      // Away; the gate has counted it.
    }
    for (let i = 0; i < receivers.length; i += 1)
      receivers[i]?.(values === undefined ? undefined : (values[i] ?? null));
  }

  async #ask(client: RedisLike, keys: readonly string[]): Promise<readonly (Buffer | null)[]> {
    const cluster = this.#gate.connection?.cluster === true;
    if (cluster || keys.length === 1)
      return Promise.all(keys.map((key) => client.callBuffer('GET', key) as Promise<Buffer | null>));
    return (await client.callBuffer('MGET', ...keys)) as (Buffer | null)[];
  }
}
