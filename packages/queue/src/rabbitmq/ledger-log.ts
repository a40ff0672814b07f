/** An entry of a log with its place in it; places grow by one from entry to entry, or by any step where `gaps` is said. */
export interface LogEntry {
  readonly position: number;
  readonly text: string;
}

/** A state with the place in the log that it includes. */
export interface LogSnapshot {
  readonly position: number;
  readonly text: string;
}

/** Who reads a log. */
export interface LogReader {
  /** The place of the last entry that was read; negative before the first, -2 when there is no state either. */
  position(): number;
  entry(entry: LogEntry): void;
  /** Connected, perhaps again: what was appended and not read back may not have arrived. */
  connected(): void;
  /** Entries after `position()` are gone: the state has to come from a snapshot. */
  restore(snapshot: LogSnapshot): void;
  /** The log was made anew and is empty; a state that somebody still has goes into it as a snapshot. */
  emptied(): void;
}

/** A totally ordered, durable sequence of texts that several processes append to and read. */
export interface LedgerLog {
  start(reader: LogReader): void;
  /** Sends an entry; it has arrived when it is read back. May be lost with its connection. */
  append(text: string): void;
  /** Keeps a state, so that nobody has to read what came before. */
  keep(snapshot: LogSnapshot): Promise<void>;
  close(timeoutMs: number): Promise<void>;
}
