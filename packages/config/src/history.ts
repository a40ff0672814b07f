import type { CommitKind, StoredVersion } from './store.ts';

/** One entry of the history: a version, or a reload of a source, which has no version of its own. */
export interface VersionInfo {
  /** The version; `undefined` for a reload. */
  readonly version: number | undefined;
  readonly kind: CommitKind | 'reload';
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly author?: string;
  readonly reason?: string;
  /** The paths that changed; never values. */
  readonly paths: readonly string[];
  /** For a rollback: the version whose values it brought back. */
  readonly to?: number;
  /** For a reload: the source. */
  readonly source?: string;
  /** For a reload: the version that was in force. */
  readonly during?: number;
}

/** The last reloads of this process, bounded. */
export class ReloadLog {
  readonly #entries: VersionInfo[] = [];
  readonly #limit: number;

  constructor(limit: number) {
    this.#limit = limit;
  }

  add(entry: VersionInfo): void {
    this.#entries.unshift(Object.freeze(entry));
    this.#entries.length = Math.min(this.#entries.length, this.#limit);
  }

  /** Versions and reloads in one list, newest first. */
  withVersions(versions: readonly StoredVersion[]): VersionInfo[] {
    const infos = versions.map(({ version, at, meta }): VersionInfo => ({ version, at, ...meta }));
    return [...infos, ...this.#entries].sort((a, b) => placeOf(b) - placeOf(a) || b.at - a.at);
  }
}

/** Where an entry stands in the order; a reload comes after the version it happened to, whatever the clocks say. */
function placeOf({ version, during = 0 }: VersionInfo): number {
  return version ?? during + 0.5;
}
