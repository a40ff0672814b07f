import type { Clock } from '@xiaoke/core';
import type { Command, Reply } from './ledger-commands.ts';
import type { Ledger } from './ledger.ts';

/** A ledger as a process uses it. */
export interface LedgerClient {
  /** Whether it outlives the process, and others see it. */
  readonly shared: boolean;
  readonly ledger: Ledger;
  /** Brings the view up to date; rejects with `QUEUE_UNAVAILABLE` when that takes longer. */
  open(timeoutMs: number): Promise<void>;
  /**
   * Applies a command. With a time it rejects with `QUEUE_UNAVAILABLE` after it, and may apply the command later; without,
   * it waits through outages until the client is closed.
   */
  run(command: Command, timeoutMs?: number): Promise<Reply>;
  /** As {@link run}, without a wait; `undefined` where a command has to travel first. */
  runNow(command: Command): Reply | undefined;
  close(timeoutMs: number): Promise<void>;
}

/** A ledger in this process's memory: nobody else sees it, and it is gone with the process. */
export class MemoryLedger implements LedgerClient {
  readonly shared = false;
  readonly ledger: Ledger;
  readonly #clock: Clock;

  constructor(ledger: Ledger, clock: Clock) {
    this.ledger = ledger;
    this.#clock = clock;
  }

  open(): Promise<void> {
    return Promise.resolve();
  }

  run(command: Command): Promise<Reply> {
    return Promise.resolve(this.runNow(command));
  }

  runNow(command: Command): Reply {
    return this.ledger.apply(command, this.#clock.now());
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
