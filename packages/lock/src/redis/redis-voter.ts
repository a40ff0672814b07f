import type { Clock } from '@xiaoke/core';
import type { RedisConnection } from '@xiaoke/core/redis';
import type { Busy, Grant, HoldRef, HoldRequest } from '../backend.ts';
import type { Voter, VoterPast } from '../quorum/voter.ts';
import { RedisBackend, type RedisBackendOptions } from './redis-backend.ts';

/** How long a server may leave attempts unanswered before it is asked once a second only, in milliseconds. */
const STALLED_AFTER = 500;
const PROBE_EVERY = 1_000;

/** One server of a quorum. */
export class RedisVoter implements Voter {
  readonly backend: RedisBackend;
  readonly #client: RedisConnection['client'];
  readonly #clock: Clock;
  readonly #markKey: string;
  /** Attempts without an answer, and when something was last heard or the first of them sent. */
  #open = 0;
  #heardAt = 0;
  #askedAt = 0;
  /** Attempts without an answer, by hold, and whether they are still wanted. */
  readonly #attempts = new Map<string, Set<{ wanted: boolean }>>();

  constructor(connection: RedisConnection, options: RedisBackendOptions) {
    this.backend = new RedisBackend(connection, options);
    this.#client = connection.client;
    this.#clock = options.clock;
    this.#markKey = `${options.namespace}:lock-quorum`;
  }

  // What a frozen server was asked piles up in memory, and all of it would be granted when it wakes.
  attempt(request: HoldRequest, patient: boolean): Promise<Grant | Busy> {
    const now = this.#clock.monotonic();
    if (this.#open === 0) this.#heardAt = now;
    else if (now - this.#heardAt > STALLED_AFTER && now - this.#askedAt < PROBE_EVERY)
      return Promise.reject(new Error('A server of the quorum does not answer'));
    this.#askedAt = now;
    this.#open += 1;
    const { holdId } = request;
    const attempt = { wanted: true };
    const attempts = this.#attempts.get(holdId) ?? new Set();
    this.#attempts.set(holdId, attempts.add(attempt));
    return this.backend
      .attempt(request, patient, () => attempt.wanted)
      .finally(() => {
        attempts.delete(attempt);
        if (attempts.size === 0 && this.#attempts.get(holdId) === attempts) this.#attempts.delete(holdId);
        this.#open -= 1;
        this.#heardAt = this.#clock.monotonic();
      });
  }

  // One that was sent after this is not to be given back: where the script is not known, the second command comes behind it.
  async cancel(hold: HoldRef): Promise<void> {
    this.#unwant(hold);
    await this.backend.cancel(hold, () => !this.#isWanted(hold));
  }

  async release(hold: HoldRef): Promise<boolean> {
    this.#unwant(hold);
    return await this.backend.release(hold);
  }

  async confirm(hold: HoldRef, token: number, last: number): Promise<void> {
    await this.backend.confirm(hold, token, last);
  }

  async look(): Promise<VoterPast> {
    const [info, mark] = await Promise.all([
      this.#client.call('INFO', 'server'),
      this.#client.call('GET', this.#markKey),
    ]);
    const field = (name: string): string =>
      new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(String(info))?.[1] ?? '';
    return {
      runId: field('run_id'),
      // A difference of two times that were cut to whole seconds, so it can say a second too much.
      uptimeMs: Math.max(0, Number(field('uptime_in_seconds')) - 1) * 1_000,
      joinedAs: typeof mark === 'string' ? mark : undefined,
    };
  }

  async join(runId: string): Promise<void> {
    await this.#client.call('SET', this.#markKey, runId, 'NX');
  }

  onConnection(listener: (up: boolean) => void): () => void {
    const up = (): void => listener(true);
    const down = (): void => listener(false);
    this.#client.on('ready', up);
    this.#client.on('close', down);
    return () => {
      this.#client.off('ready', up);
      this.#client.off('close', down);
    };
  }

  #isWanted({ holdId }: HoldRef): boolean {
    for (const { wanted } of this.#attempts.get(holdId) ?? []) if (wanted) return true;
    return false;
  }

  // What was sent comes before what ends the hold, on one connection. But an attempt whose script the server does not know has
  // a second command to send, which would come behind it and leave a hold that nobody has.
  #unwant({ holdId }: HoldRef): void {
    for (const attempt of this.#attempts.get(holdId) ?? []) attempt.wanted = false;
  }
}
