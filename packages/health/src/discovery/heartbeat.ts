import type { Background, Clock, Logger, Random, Timer } from '@xiaoke/core';
import type { RegistryBackend } from './backend.ts';
import type { HeldRegistration } from './registration.ts';

/** What beating needs. */
export interface HeartbeatHost {
  backend(): Promise<RegistryBackend>;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly background: Background;
  readonly jitter: number;
}

/** Renews the leases of this process, all in one go, and one go at a time. */
export class Heartbeat {
  readonly held: Set<HeldRegistration> = new Set();
  readonly counts: { beats: number; failures: number } = { beats: 0, failures: 0 };
  readonly #host: HeartbeatHost;
  #timer: Timer | undefined;
  #periodMs = Infinity;
  #beating = false;
  #again = false;
  #closed = false;

  constructor(host: HeartbeatHost) {
    this.#host = host;
  }

  add(registration: HeldRegistration): void {
    this.held.add(registration);
    // A timer that runs is left alone, or steady registering would put the beat off for ever.
    if (this.#timer === undefined || registration.heartbeatMs < this.#periodMs) this.#arm();
  }

  delete(registration: HeldRegistration): void {
    this.held.delete(registration);
    if (this.held.size === 0) this.#disarm();
  }

  /** Beats at once, such as when the registry is reachable again. */
  now(): void {
    if (this.#closed || this.held.size === 0) return;
    this.#again = true;
    if (!this.#beating) this.#host.background.run(() => this.#beat(), 'renew the leases');
  }

  close(): void {
    this.#closed = true;
    this.#disarm();
  }

  async #beat(): Promise<void> {
    this.#beating = true;
    try {
      while (this.#again && !this.#closed) {
        this.#again = false;
        await this.#beatOnce([...this.held]);
      }
    } finally {
      this.#beating = false;
      if (this.held.size > 0) this.#arm();
    }
  }

  async #beatOnce(held: readonly HeldRegistration[]): Promise<void> {
    const at = this.#host.clock.monotonic();
    try {
      const backend = await this.#host.backend();
      const outcomes = await backend.beat(held.map(({ record }) => record));
      this.counts.beats += held.length;
      await Promise.all(held.flatMap((each, index) => each.beaten(outcomes[index], at) ?? []));
    } catch (error) {
      this.counts.failures += 1;
      this.#host.logger.debug({ err: error }, 'a heartbeat failed');
      await Promise.all(held.flatMap((each) => each.beaten(undefined, at) ?? []));
    }
  }

  #arm(): void {
    if (this.#closed) return;
    const { clock, jitter, random } = this.#host;
    this.#periodMs = Math.min(...[...this.held].map((each) => each.heartbeatMs));
    this.#timer?.cancel();
    this.#timer = clock.setTimeout(() => this.now(), this.#periodMs * (1 - jitter * random())).unref();
  }

  #disarm(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }
}
