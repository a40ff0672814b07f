import type { Clock, Timer } from '@xiaoke/core';
import { RedisScript } from '@xiaoke/core/redis';
import type { Draft, Lease, WriteOutcome } from '../second-tier.ts';
import { AwayError, type Gate } from './gate.ts';
import type { EntryKeys } from './keys.ts';
import { putScript, releaseScript, renewScript } from './scripts.generated.ts';

const RENEW = new RedisScript(renewScript.source);
const RELEASE = new RedisScript(releaseScript.source);
const PUT = new RedisScript(putScript.source);

/** What a lease needs of the tier that granted it. */
export interface LeaseParts {
  readonly gate: Gate;
  readonly clock: Clock;
  readonly leaseTtl: number;
  readonly keys: EntryKeys;
  readonly token: string;
  /** The bytes of a draft and their life; undefined when it cannot be stored. */
  readonly encode: (draft: Draft) => Promise<{ readonly bytes: Buffer; readonly life: number } | undefined>;
  /** Told once it is renewed no more. */
  readonly onEnd: (lease: RedisLease) => void;
}

/** A lease that is renewed every third of its time until it is used, released or left to lapse. */
export class RedisLease implements Lease {
  readonly #parts: LeaseParts;
  readonly #timer: Timer;

  constructor(parts: LeaseParts) {
    this.#parts = parts;
    this.#timer = parts.clock.setInterval(() => void this.#renew(), parts.leaseTtl / 3).unref();
  }

  async store(draft: Draft): Promise<WriteOutcome> {
    const { gate, keys, token } = this.#parts;
    const encoded = await this.#parts.encode(draft);
    if (encoded === undefined) {
      await this.release();
      return 'skipped';
    }
    this.stopRenewing();
    try {
      const { bytes, life } = encoded;
      const stored = await gate.run('write', (client) =>
        PUT.run(client, [keys.entry, keys.lease], [token, bytes, life]),
      );
      return stored === 1 ? 'stored' : 'fenced';
    } catch (error) {
      // Nobody should wait for a value that Redis will not take.
      if (error instanceof AwayError && error.refused) await this.release();
      return 'away';
    }
  }

  async release(): Promise<void> {
    this.stopRenewing();
    try {
      const { gate, keys, token } = this.#parts;
      await gate.run('renew', (client) => RELEASE.run(client, [keys.lease], [token]));
    } catch {
      // It lapses by itself.
    }
  }

  stopRenewing(): void {
    this.#timer.cancel();
    this.#parts.onEnd(this);
  }

  async #renew(): Promise<void> {
    try {
      const { gate, keys, token, leaseTtl } = this.#parts;
      const held = await gate.run('renew', (client) => RENEW.run(client, [keys.lease], [token, leaseTtl]));
      if (held !== 1) this.stopRenewing();
    } catch {
      // The next renewal may succeed; if none does, the value is refused when it is stored.
    }
  }
}
