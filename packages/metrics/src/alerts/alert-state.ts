import { readFile, rename, writeFile } from 'node:fs/promises';
import type { Alert } from './rule-state.ts';
import type { Silence } from './silences.ts';

/** What an alert manager remembers across restarts. */
export interface SavedState {
  readonly savedAt: number;
  readonly alerts: readonly Alert[];
  readonly silences: readonly Silence[];
  /** What was told last, by fingerprint. */
  readonly told: Readonly<Record<string, { readonly state: 'firing' | 'resolved'; readonly at: number }>>;
}

/** Who may tell an alert, where several instances watch the same. */
export type Claim = 'claimed' | 'told' | 'busy';

/** Keeps the state of alerts, and sees to it that one instance tells each. */
export interface AlertStateStorage {
  load(): Promise<SavedState | undefined>;
  save(state: SavedState): Promise<void>;
  claim(fingerprint: string, state: 'firing' | 'resolved'): Promise<Claim>;
  settle(fingerprint: string, state: 'firing' | 'resolved', told: boolean, remember: number): Promise<void>;
  close(): Promise<void>;
}

class LocalState implements AlertStateStorage {
  load(): Promise<SavedState | undefined> {
    return Promise.resolve(undefined);
  }

  save(_state: SavedState): Promise<void> {
    return Promise.resolve();
  }

  claim(): Promise<Claim> {
    return Promise.resolve('claimed');
  }

  settle(): Promise<void> {
    return Promise.resolve();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

class FileState extends LocalState {
  readonly #path: string;

  constructor(path: string) {
    super();
    this.#path = path;
  }

  override async load(): Promise<SavedState | undefined> {
    try {
      return JSON.parse(await readFile(this.#path, 'utf8')) as SavedState;
    } catch {
      // None yet, or not ours: alerts begin anew, as they would without a file.
      return undefined;
    }
  }

  override async save(state: SavedState): Promise<void> {
    await writeFile(`${this.#path}.new`, JSON.stringify(state));
    await rename(`${this.#path}.new`, this.#path);
  }
}

/** Forgets everything with the process. */
export function memoryState(): AlertStateStorage {
  return new LocalState();
}

/** Keeps the state of one instance in a file. */
export function fileState(path: string): AlertStateStorage {
  return new FileState(path);
}
