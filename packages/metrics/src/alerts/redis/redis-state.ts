import { createHash, randomUUID } from 'node:crypto';
import type { Logger, RedisOption } from '@xiaoke/core';
import { keyspace, openRedis, RedisScript, type Keyspace, type RedisConnection } from '@xiaoke/core/redis';
import type { AlertStateStorage, Claim, SavedState } from '../alert-state.ts';
import { claimScript, settleScript } from './scripts.generated.ts';

/** How the state is kept in Redis. */
export interface RedisStateOptions {
  /** Instances of one namespace tell each alert once. @default 'default' */
  readonly namespace?: string;
  /** Names this instance's own state across restarts. @default 'default' */
  readonly instance?: string;
  readonly logger?: Logger;
}

// A teller that died is replaced after this long, in milliseconds.
const CLAIM_FOR = 60_000;
const KEEP = 7 * 86_400_000;

class RedisState implements AlertStateStorage {
  readonly #option: RedisOption;
  readonly #options: RedisStateOptions;
  readonly #key: Keyspace;
  readonly #owner = randomUUID();
  readonly #claim = new RedisScript(claimScript.source);
  readonly #settle = new RedisScript(settleScript.source);
  #opening: Promise<RedisConnection> | undefined;

  constructor(option: RedisOption, options: RedisStateOptions) {
    this.#option = option;
    this.#options = options;
    this.#key = keyspace('xa', options.namespace ?? 'default');
  }

  async load(): Promise<SavedState | undefined> {
    const text = await (await this.#open()).client.call('GET', this.#stateKey());
    return typeof text === 'string' ? (JSON.parse(text) as SavedState) : undefined;
  }

  async save(state: SavedState): Promise<void> {
    const { client } = await this.#open();
    await client.call('SET', this.#stateKey(), JSON.stringify(state), 'PX', KEEP);
  }

  async claim(fingerprint: string, state: 'firing' | 'resolved'): Promise<Claim> {
    const { client } = await this.#open();
    const args = [this.#owner, state, CLAIM_FOR];
    return (await this.#claim.run(client, [this.#alertKey(fingerprint)], args)) as Claim;
  }

  async settle(
    fingerprint: string,
    state: 'firing' | 'resolved',
    told: boolean,
    remember: number,
  ): Promise<void> {
    const { client } = await this.#open();
    const args = [this.#owner, state, told ? '1' : '0', Math.ceil(remember)];
    await this.#settle.run(client, [this.#alertKey(fingerprint)], args);
  }

  async close(): Promise<void> {
    await (await this.#opening)?.close();
  }

  #open(): Promise<RedisConnection> {
    const { logger } = this.#options;
    this.#opening ??= openRedis(this.#option, { load: () => import('ioredis'), logger });
    return this.#opening;
  }

  #stateKey(): string {
    return this.#key(`s:${this.#options.instance ?? 'default'}`);
  }

  #alertKey(fingerprint: string): string {
    return this.#key(`n:${createHash('sha256').update(fingerprint).digest('base64url').slice(0, 27)}`);
  }
}

/** Keeps the state in Redis; of all instances of a namespace, one tells each alert. */
export function redisState(redis: RedisOption, options: RedisStateOptions = {}): AlertStateStorage {
  return new RedisState(redis, options);
}
