import type { RedisLike } from '@xiaoke/core/redis';
import type { Gate } from './gate.ts';

/** A key, and who gets what it holds: null for nothing, undefined when Redis is away. Must not throw. */
export interface Question {
  readonly key: string;
  receive(bytes: Buffer | null | undefined): void;
}

// One reply of this many values keeps the event loop for a millisecond or so.
const MAX_KEYS = 500;

/**
 * Reads keys. All reads of one turn of the event loop go out as one MGET, which costs this process a fraction of what as many
 * GETs cost, pipelined or not (apps/bench/src/cache/redis-reads.ts). On a Cluster, where keys lie in different slots, they
 * go out one by one. It calls back instead of giving a promise, because at this rate promises are most of the cost.
 */
export class Reader {
  readonly #gate: Gate;
  #questions: Question[] = [];

  constructor(gate: Gate) {
    this.#gate = gate;
  }

  read(question: Question): void {
    // nextTick runs once the promise jobs have run dry, so that whoever was woken by one reply asks in one question.
    if (this.#questions.length === 0) process.nextTick(this.#flush);
    this.#questions.push(question);
  }

  readonly #flush = (): void => {
    const questions = this.#questions;
    this.#questions = [];
    if (questions.length <= MAX_KEYS) {
      void this.#send(questions);
      return;
    }
    for (let from = 0; from < questions.length; from += MAX_KEYS)
      void this.#send(questions.slice(from, from + MAX_KEYS));
  };

  async #send(questions: readonly Question[]): Promise<void> {
    const keys = questions.map(({ key }) => key);
    let values: readonly (Buffer | null)[] | undefined;
    try {
      values = await this.#gate.run('read', (client) => this.#ask(client, keys));
    } catch {
      // Away; the gate has counted it.
    }
    for (let i = 0; i < questions.length; i += 1)
      questions[i]?.receive(values === undefined ? undefined : (values[i] ?? null));
  }

  async #ask(client: RedisLike, keys: readonly string[]): Promise<readonly (Buffer | null)[]> {
    const cluster = this.#gate.connection?.cluster === true;
    if (cluster || keys.length === 1)
      return Promise.all(keys.map((key) => client.callBuffer('GET', key) as Promise<Buffer | null>));
    return (await client.callBuffer('MGET', ...keys)) as (Buffer | null)[];
  }
}
