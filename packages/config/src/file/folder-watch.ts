import { stat } from 'node:fs/promises';
import { withTimeout, type Clock, type Logger } from '@xiaoke/core';
import type { FSWatcher } from 'chokidar';

/** Is told that a name in a watched folder may have changed; `change` means written to, `rename` come, gone or replaced. */
export type FolderListener = (event: 'change' | 'rename', name: string) => void;

interface Watched {
  readonly watcher: FSWatcher;
  readonly inode: bigint;
  readonly ready: Promise<void>;
  readonly listeners: Set<FolderListener>;
}

const READY_TIMEOUT = 2_000;

/**
 * Watches folders through chokidar, each once however many files in it are of interest. Its raw events are used: they
 * come before its throttle, which swallows the second of two saves within 50 ms (paulmillr/chokidar#1455). An event is a
 * hint here and never the truth, so that one too many does no harm.
 */
export class FolderWatch {
  readonly #folders = new Map<string, Watched>();
  readonly #clock: Clock;
  readonly #logger: Logger;
  #closed = false;

  constructor(clock: Clock, logger: Logger) {
    this.#clock = clock;
    this.#logger = logger;
  }

  /** Whether some folder could not be watched, so that only looking from time to time helps. */
  failed = false;

  /** Listens to a folder that exists; resolves when nothing that happens from now on is missed. */
  async add(folder: string, listener: FolderListener): Promise<void> {
    const inode = await inodeOf(folder);
    if (inode === undefined || this.#closed) return;
    const old = this.#folders.get(folder);
    // A folder deleted and made again keeps its name and loses its watch.
    const stale = old !== undefined && old.inode !== inode;
    if (stale) this.#drop(folder, old);
    const watched = stale || old === undefined ? await this.#watch(folder, inode, old) : old;
    watched?.listeners.add(listener);
    await watched?.ready;
  }

  /** Ends listening; the folder's watch ends with its last listener. */
  remove(folder: string, listener: FolderListener): void {
    const watched = this.#folders.get(folder);
    watched?.listeners.delete(listener);
    if (watched?.listeners.size === 0) this.#drop(folder, watched);
  }

  async close(): Promise<void> {
    this.#closed = true;
    const all = [...this.#folders.values()];
    this.#folders.clear();
    await Promise.allSettled(all.map(({ watcher }) => watcher.close()));
  }

  async #watch(folder: string, inode: bigint, old: Watched | undefined): Promise<Watched | undefined> {
    const { watch } = await import('chokidar');
    if (this.#closed) return undefined;
    const known = this.#folders.get(folder);
    if (known !== undefined) return known;
    const listeners = old?.listeners ?? new Set<FolderListener>();
    const watcher = watch(folder, {
      depth: 0,
      atomic: false,
      ignoreInitial: true,
      // The folder's own watch tells everything about the names in it.
      ignored: (path: string) => path !== folder,
    });
    watcher.on('raw', (event: string, name: string | null) => {
      const kind = event === 'change' ? 'change' : 'rename';
      // A watch may lose the name; then everything in the folder is looked at.
      for (const listener of listeners) listener(kind, name ?? '');
    });
    watcher.on('error', (error: unknown) => this.#onError(folder, error));
    const ready = new Promise<void>((resolve) => {
      watcher.once('ready', () => resolve());
    });
    const bounded = withTimeout(ready, READY_TIMEOUT, 'watching', { clock: this.#clock, ref: false }).catch(
      () => {},
    );
    const watched = { watcher, inode, ready: bounded, listeners };
    this.#folders.set(folder, watched);
    return watched;
  }

  #onError(folder: string, error: unknown): void {
    this.failed = true;
    const code = typeof error === 'object' && error !== null && 'code' in error ? error.code : 'UNKNOWN';
    this.#logger.warn(
      { folder, code },
      'a folder cannot be watched; its files are looked at from time to time',
    );
  }

  #drop(folder: string, watched: Watched): void {
    this.#folders.delete(folder);
    watched.watcher.close().catch((error: unknown) => this.#onError(folder, error));
  }
}

async function inodeOf(folder: string): Promise<bigint | undefined> {
  try {
    return (await stat(folder, { bigint: true })).ino;
  } catch {
    return undefined;
  }
}
