import { randomBytes } from 'node:crypto';
import { TransientMap, type Background, type Clock } from '@xiaoke/core';
import { QueueError } from '../errors.ts';
import type { Command, Reply } from './ledger-commands.ts';
import type { LedgerClient } from './ledger-client.ts';
import type { LedgerLog, LogEntry, LogSnapshot } from './ledger-log.ts';
import { loadLedger, saveLedger } from './ledger-snapshot.ts';
import type { Ledger } from './ledger.ts';

/** What a replicated ledger needs. */
export interface ReplicatedLedgerOptions {
  readonly ledger: Ledger;
  readonly log: LedgerLog;
  readonly clock: Clock;
  readonly background: Background;
  /** Entries between two snapshots. */
  readonly snapshotEvery: number;
}

interface Pending {
  readonly seq: number;
  readonly command: Command;
  readonly settle: (reply: Reply | undefined, error?: unknown) => void;
  over: boolean;
}

interface Author {
  seq: number;
  at: number;
}

const FORGET_AUTHOR = 86_400_000;
/** Before the first entry, and without what a snapshot says; -1 is before the first entry, with a state. */
const NOTHING_READ = -2;
const MAX_BATCH = 400;
const MAX_BYTES = 1_000_000;

/**
 * A ledger that every process has a copy of. Commands go into a log; whoever reads the log applies them, so all copies
 * say the same, and the reply to a command is what applying it gave here, once it came back. Commands are numbered by
 * their author and applied once, whatever is sent again after a lost connection.
 */
export class ReplicatedLedger implements LedgerClient {
  readonly shared = true;
  readonly ledger: Ledger;
  readonly #options: ReplicatedLedgerOptions;
  readonly #author = randomBytes(9).toString('base64url');
  readonly #authors = new Map<string, Author>();
  /** Said and not read back yet, in order. */
  readonly #pending = new TransientMap<number, Pending>();
  #unsent: Pending[] = [];
  #seq = 0;
  #position = NOTHING_READ;
  #sinceSnapshot = 0;
  #connected = false;
  #scheduled = false;
  #closed = false;

  constructor(options: ReplicatedLedgerOptions) {
    this.#options = options;
    this.ledger = options.ledger;
  }

  async open(timeoutMs: number): Promise<void> {
    this.#options.log.start({
      position: () => this.#position,
      entry: (entry) => this.#read(entry),
      connected: () => this.#reconnected(),
      restore: (snapshot) => this.#restore(snapshot),
      emptied: () => this.#emptied(),
    });
    await this.run({ op: 'look' }, timeoutMs);
  }

  run(command: Command, timeoutMs?: number): Promise<Reply> {
    if (this.#closed) return Promise.reject(closed());
    this.#seq += 1;
    const seq = this.#seq;
    return new Promise((resolve, reject) => {
      const timer =
        timeoutMs === undefined
          ? undefined
          : this.#options.clock.setTimeout(() => pending.settle(undefined, late(timeoutMs)), timeoutMs);
      const pending: Pending = {
        seq,
        command,
        over: false,
        settle: (reply, error) => {
          if (pending.over) return;
          pending.over = true;
          timer?.cancel();
          if (reply === undefined) reject(error);
          else resolve(reply);
        },
      };
      this.#pending.set(seq, pending);
      this.#unsent.push(pending);
      this.#schedule();
    });
  }

  runNow(): undefined {
    return undefined;
  }

  async close(timeoutMs: number): Promise<void> {
    this.#closed = true;
    for (const pending of this.#pending.values()) pending.settle(undefined, closed());
    this.#pending.clear();
    await this.#options.log.close(timeoutMs);
  }

  #schedule(): void {
    if (this.#scheduled || !this.#connected) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#flush();
    });
  }

  #flush(): void {
    while (this.#connected && this.#unsent.length > 0 && !this.#closed) {
      const batch: string[] = [];
      const first = this.#unsent[0]?.seq ?? 0;
      let bytes = 0;
      while (batch.length < MAX_BATCH && bytes < MAX_BYTES) {
        const next = this.#unsent[batch.length];
        if (next === undefined) break;
        const text = JSON.stringify(next.command);
        bytes += text.length;
        batch.push(text);
      }
      this.#unsent.splice(0, batch.length);
      const head = JSON.stringify([this.#author, first, this.#options.clock.now()]);
      this.#options.log.append(`${head.slice(0, -1)},[${batch.join()}]]`);
    }
  }

  #read({ position, text }: LogEntry): void {
    if (position <= this.#position) return;
    this.#position = position;
    const [author, first, at, commands] = JSON.parse(text) as [string, number, number, Command[]];
    const known = this.#authors.get(author) ?? { seq: 0, at };
    this.#authors.set(author, known);
    known.at = at;
    if (first > known.seq + 1 && known.seq > 0) {
      // Something before it did not arrive: it is sent again, in order, and this with it.
      if (author === this.#author) this.#reconnected();
      return;
    }
    commands.forEach((command, index) => {
      const seq = first + index;
      if (seq <= known.seq) return;
      known.seq = seq;
      const reply = this.ledger.apply(command, at);
      if (author !== this.#author) return;
      this.#pending.get(seq)?.settle(reply);
      this.#pending.delete(seq);
    });
    this.#sinceSnapshot += 1;
    // Whoever wrote the entry that is one too many also keeps the state after it.
    if (this.#sinceSnapshot >= this.#options.snapshotEvery && author === this.#author) this.#keep();
  }

  /** Everything that was not read back is sent again, in order; what had arrived is recognised by its number. */
  #reconnected(): void {
    this.#connected = true;
    this.#unsent = [...this.#pending.values()].sort((a, b) => a.seq - b.seq);
    this.#schedule();
  }

  #restore(snapshot: LogSnapshot): void {
    if (snapshot.position <= this.#position) return;
    const authors = loadLedger(this.ledger, snapshot.text);
    this.#authors.clear();
    for (const [author, seq, at] of authors) this.#authors.set(author, { seq, at });
    this.#position = snapshot.position;
    this.#sinceSnapshot = 0;
    // Commands of ours that the snapshot includes were applied; what they gave is not known here.
    const applied = this.#authors.get(this.#author)?.seq ?? 0;
    for (const [seq, pending] of this.#pending) {
      if (seq > applied) continue;
      pending.settle(
        undefined,
        new QueueError('QUEUE_UNAVAILABLE', 'The reply was lost: repeat with the same id'),
      );
      this.#pending.delete(seq);
    }
  }

  #emptied(): void {
    this.#position = -1;
    if (this.ledger.tables.records.size > 0 || this.ledger.tables.schedules.size > 0) this.#keep();
  }

  #keep(): void {
    this.#sinceSnapshot = 0;
    const { now } = this.ledger.tables;
    for (const [author, { at }] of this.#authors) if (at < now - FORGET_AUTHOR) this.#authors.delete(author);
    const authors = [...this.#authors].map(([author, { seq, at }]) => [author, seq, at] as const);
    const snapshot = { position: this.#position, text: saveLedger(this.ledger, authors) };
    this.#options.background.run(() => this.#options.log.keep(snapshot), 'keep a snapshot of the ledger');
  }
}

function closed(): QueueError {
  return new QueueError('QUEUE_CLOSED', 'The ledger is closed');
}

function late(timeoutMs: number): QueueError {
  return new QueueError('QUEUE_UNAVAILABLE', `The status store did not answer within ${timeoutMs} ms`);
}
