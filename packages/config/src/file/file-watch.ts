import { createHash } from 'node:crypto';
import { Background, sleep, type Clock, type Logger, type Timer } from '@xiaoke/core';
import { ConfigError, ConfigSourceError } from '../errors.ts';
import { fingerprint, glance, watchPoints, type Fingerprint } from './fingerprint.ts';
import type { FolderListener, FolderWatch } from './folder-watch.ts';
import { readBounded } from './read-file.ts';

/** What a file watch reports to. */
export interface FileWatchHost {
  /**
   * New content. Gives `false` when it makes no sense yet; unless `final`, the file then gets a little more time, since
   * it may still be being written.
   */
  onContent(bytes: Buffer, final: boolean): boolean;
  /** An optional file is gone. */
  onGone(): void;
  onProblem(error: ConfigError): void;
  /**
   * Something happened to the file. The promise ends very soon, when its new content is there, or when it will take longer
   * or there is none: files that are swapped together are told in the same moment, and belong together.
   */
  reading(work: Promise<unknown>): void;
}

/** How a file is watched. */
export interface FileWatchOptions {
  readonly path: string;
  /** The path as it was given, for errors. */
  readonly name: string;
  readonly optional: boolean;
  readonly settle: number;
  readonly folders: FolderWatch | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly host: FileWatchHost;
}

// An empty or missing file is a step of many ways to save; only one that stays so is meant.
const EMPTY_GRACE = 500;
const GONE_GRACE = 1_000;
// Timestamps of files count in ticks of a few milliseconds: two states within one tick can look the same.
const TIMESTAMP_TICK = 20;
const FIRST_LIMIT = 5_000;
const MUCH = 64n;

type Found = Fingerprint | string;

/**
 * Follows one file through every way of saving it. A file that was renamed into place, or that a swapped link now leads
 * to, is complete and read at once; one written in place is read when it has not changed for `settle` milliseconds.
 */
export class FileWatch {
  readonly #options: FileWatchOptions;
  readonly #background: Background;
  readonly #listeners = new Map<string, FolderListener>();
  readonly #timers = new Set<Timer>();
  #applied: Fingerprint | undefined;
  #digest: string | undefined;
  /** The file's state at the last report of trouble, so that it is reported once. */
  #troubled: string | undefined;
  #names = new Map<string, Set<string>>();
  #glance: string | undefined;
  #checking = false;
  #again = false;
  /** Ends the promise given to `reading`; it belongs to the next look. */
  #decided: (() => void) | undefined;
  /** Ends the wait of a file that settles, since it may have been swapped meanwhile. */
  #wake: (() => void) | undefined;
  #closed = false;
  #hintAt = 0;
  #renames = 0;
  #writes = 0;
  #missingSince: number | undefined;

  constructor(options: FileWatchOptions) {
    this.#options = options;
    this.#background = new Background({ logger: options.logger });
  }

  /** Watches, then reads for the first time; gives `undefined` for an optional file that is not there. */
  async start(): Promise<Buffer | undefined> {
    await this.#arm();
    return await this.load();
  }

  /** Reads now, whatever was read before. */
  async load(): Promise<Buffer | undefined> {
    const { path, name, optional, clock, settle } = this.#options;
    const deadline = clock.monotonic() + FIRST_LIMIT;
    for (;;) {
      const found = await fingerprint(path);
      if (typeof found === 'string') {
        if (found === 'ENOENT' && optional) return undefined;
        throw new ConfigSourceError(name, found === 'ENOENT' ? 'is missing' : 'cannot be read', found);
      }
      const fresh = clock.now() - found.changedAt < settle;
      const bytes = await readBounded(path, name);
      // Bytes of a file that was touched just now count only when it is the same a little later.
      if (fresh) await sleep(settle, { clock });
      const after = await fingerprint(path);
      if (typeof after !== 'string' && after.key === found.key) {
        this.#remember(found, bytes);
        return bytes;
      }
      if (clock.monotonic() > deadline) throw new ConfigSourceError(name, 'keeps changing');
    }
  }

  /** Looks whether the file is another than it was. */
  look(): void {
    if (this.#checking) {
      this.#again = true;
      return;
    }
    if (this.#closed) return;
    this.#checking = true;
    this.#background.run(() => this.#checkAll(), 'look at a configuration file');
  }

  /** Looks without an event: one question to the system as long as nothing happens. */
  poll(): void {
    if (this.#checking || this.#closed) return;
    this.#background.run(async () => {
      const { path, clock } = this.#options;
      const { key, changedAt } = await glance(path);
      if (key === this.#glance) return;
      this.#glance = clock.now() - changedAt > TIMESTAMP_TICK ? key : undefined;
      this.look();
    }, 'glance at a configuration file');
  }

  close(): void {
    this.#closed = true;
    this.#decided?.();
    for (const timer of this.#timers) timer.cancel();
    for (const [folder, listener] of this.#listeners) this.#options.folders?.remove(folder, listener);
    this.#listeners.clear();
  }

  async #checkAll(): Promise<void> {
    try {
      do {
        const decided = this.#decided ?? ((): void => {});
        [this.#again, this.#decided] = [false, undefined];
        await this.#check(decided).finally(decided);
        await this.#arm();
      } while (this.#again && !this.#closed);
    } finally {
      this.#checking = false;
      this.#endDecision();
    }
  }

  async #check(decided: () => void): Promise<void> {
    const { path, clock } = this.#options;
    const found = await fingerprint(path);
    if (typeof found === 'string') return this.#missing(found);
    this.#missingSince = undefined;
    const known = found.key === this.#applied?.key;
    if (known && clock.now() - found.changedAt > TIMESTAMP_TICK) {
      this.#troubled = undefined;
      return;
    }
    if (found.key === this.#troubled) return;
    if (this.#isSwap(found)) return await this.#readSwapped(found);
    decided();
    await this.#readSettled(found);
  }

  /** Whether the file is another one, and came by a rename alone: then it was complete when it came. */
  #isSwap(found: Fingerprint): boolean {
    if (this.#applied === undefined || found.size === 0n || !found.regular) return false;
    const other = found.inode !== this.#applied.inode || found.real !== this.#applied.real;
    return other && this.#renames > 0 && this.#writes === 0;
  }

  async #readSwapped(found: Fingerprint): Promise<void> {
    const read = await this.#read(found, async () => {
      // Lets the events of writes that came before our read arrive: then it was no rename but a new file being written.
      await turn();
      await turn();
      return this.#writes === 0;
    });
    if (!read) this.#again = true;
  }

  async #readSettled(first: Fingerprint): Promise<void> {
    const settled = await this.#settle(first);
    if (settled === undefined) {
      this.#again = true;
      return;
    }
    const read = this.#read(settled, async () => true);
    // Files that were written together settle together.
    this.#options.host.reading(read);
    if (!(await read)) this.#again = true;
  }

  /** Waits until the file is the same at both ends of a quiet time; `undefined` when it went away meanwhile. */
  async #settle(first: Fingerprint): Promise<Fingerprint | undefined> {
    const { path, clock } = this.#options;
    let before = first;
    let settle = this.#quietFor(first);
    // Quiet counts from the event that brought us here; without one, found by looking, from now.
    const hinted = this.#hintAt > 0 && clock.monotonic() - this.#hintAt < settle;
    let since = hinted ? this.#hintAt : clock.monotonic();
    let emptySince: number | undefined;
    while (!this.#closed) {
      await this.#rest(Math.max(1, since + settle - clock.monotonic()));
      const moved = this.#hintAt > since;
      const found: Found = await fingerprint(path);
      if (typeof found === 'string' || this.#isSwap(found)) return undefined;
      this.#endDecision();
      emptySince = found.size === 0n ? (emptySince ?? clock.monotonic()) : undefined;
      const empty = emptySince !== undefined && clock.monotonic() - emptySince < EMPTY_GRACE;
      settle = this.#quietFor(found);
      const same = !moved && found.key === before.key;
      if (same && clock.monotonic() - since < settle) continue;
      if (same && !empty) return found;
      since = moved ? this.#hintAt : clock.monotonic();
      before = found;
    }
    return undefined;
  }

  /** Waits, at most until something is renamed. */
  async #rest(milliseconds: number): Promise<void> {
    const woken = new AbortController();
    this.#wake = () => woken.abort();
    const { clock } = this.#options;
    await sleep(milliseconds, { clock, ref: false, signal: woken.signal }).catch(() => {});
    this.#wake = undefined;
  }

  #endDecision(): void {
    this.#decided?.();
    this.#decided = undefined;
  }

  /** How long a state must last: longer for a file that is much shorter than it was, as the beginning of a save is. */
  #quietFor({ size }: Fingerprint): number {
    const { settle } = this.#options;
    const before = this.#applied?.size ?? 0n;
    return before - size > MUCH && size * 10n < before * 9n ? settle * 3 : settle;
  }

  /** Reads what has that fingerprint; gives `false` when it changed meanwhile and must be looked at again. */
  async #read(found: Fingerprint, sure: () => Promise<boolean>): Promise<boolean> {
    const { path, name, host } = this.#options;
    let bytes: Buffer;
    try {
      bytes = await readBounded(path, name);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      this.#trouble(found.key, error);
      return true;
    }
    const [certain, after] = [await sure(), await fingerprint(path)];
    if (!certain || typeof after === 'string' || after.key !== found.key) return false;
    if (this.#closed) return true;
    const same = digestOf(bytes) === this.#digest;
    if (same) {
      this.#remember(found, bytes);
      // Back to what is in force: whatever was wrong with the file is over.
      if (this.#troubled !== undefined) host.onContent(bytes, true);
      this.#troubled = undefined;
      return true;
    }
    if (host.onContent(bytes, false)) this.#remember(found, bytes);
    else this.#later(found, bytes);
    return true;
  }

  /** Content that makes no sense: half a save, or a mistake. Time tells. */
  #later(found: Fingerprint, bytes: Buffer): void {
    this.#after(this.#options.settle * 4, async () => {
      const now = await fingerprint(this.#options.path);
      if (typeof now === 'string' || now.key !== found.key || this.#troubled === found.key)
        return this.look();
      this.#troubled = found.key;
      this.#remember(found, bytes);
      this.#options.host.onContent(bytes, true);
    });
    this.#applied = found;
    this.#renames = 0;
    this.#writes = 0;
  }

  #missing(code: string): void {
    const { name, optional, clock, host } = this.#options;
    this.#missingSince ??= clock.monotonic();
    const gone = clock.monotonic() - this.#missingSince >= GONE_GRACE;
    if (!gone) return this.#after(GONE_GRACE, async () => this.look());
    if (this.#troubled === code) return;
    this.#troubled = code;
    this.#applied = undefined;
    this.#digest = undefined;
    if (optional && code === 'ENOENT') host.onGone();
    else
      host.onProblem(new ConfigSourceError(name, code === 'ENOENT' ? 'is missing' : 'cannot be read', code));
  }

  #trouble(key: string, error: ConfigError): void {
    if (this.#troubled === key) return;
    this.#troubled = key;
    this.#options.host.onProblem(error);
  }

  #remember(found: Fingerprint, bytes: Buffer): void {
    this.#applied = found;
    this.#digest = digestOf(bytes);
    this.#renames = 0;
    this.#writes = 0;
  }

  /** Watches what has to be watched now: the way to the file may have changed. */
  async #arm(): Promise<void> {
    const { folders, path } = this.#options;
    if (folders === undefined || this.#closed) return;
    this.#names = await watchPoints(path);
    for (const [folder, listener] of this.#listeners) {
      if (this.#names.has(folder)) continue;
      folders.remove(folder, listener);
      this.#listeners.delete(folder);
    }
    const before = this.#listeners.size;
    await Promise.all([...this.#names.keys()].map((folder) => this.#listen(folder, folders)));
    // What happened in a folder before its watch stood is seen by looking once more.
    if (this.#listeners.size > before && this.#applied !== undefined) this.#again = true;
  }

  async #listen(folder: string, folders: FolderWatch): Promise<void> {
    const listener = this.#listeners.get(folder) ?? ((event, name) => this.#hint(folder, event, name));
    this.#listeners.set(folder, listener);
    await folders.add(folder, listener);
    if (this.#closed) folders.remove(folder, listener);
  }

  #hint(folder: string, event: 'change' | 'rename', name: string): void {
    if (name !== '' && this.#names.get(folder)?.has(name) !== true) return;
    this.#hintAt = this.#options.clock.monotonic();
    if (event === 'rename') this.#renames += 1;
    else this.#writes += 1;
    // While it settles, a write is expected, and nobody should wait for it.
    if (this.#decided === undefined && !this.#closed && (this.#wake === undefined || event === 'rename')) {
      this.#options.host.reading(
        new Promise<void>((resolve) => {
          this.#decided = resolve;
        }),
      );
    }
    if (event === 'rename') this.#wake?.();
    this.look();
  }

  #after(delay: number, work: () => Promise<void>): void {
    const timer = this.#options.clock
      .setTimeout(() => {
        this.#timers.delete(timer);
        if (!this.#closed) this.#background.run(work, 'look at a configuration file later');
      }, delay)
      .unref();
    this.#timers.add(timer);
  }
}

function digestOf(bytes: Uint8Array): string {
  return createHash('sha1').update(bytes).digest('hex');
}

function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
