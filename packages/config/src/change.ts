import type { Change } from './diff.ts';
import type { Snapshot } from './snapshot.ts';

/** What set a change off. */
export interface ChangeCause {
  readonly kind:
    | 'start'
    | 'file'
    | 'source'
    | 'remote'
    | 'set'
    | 'rollback'
    | 'store'
    | 'canary'
    | 'environment';
  /** The source, or the author of a commit. */
  readonly source: string;
}

/** One step from one consistent configuration to the next, told after it is in force. */
export interface ConfigChange {
  /** The run-time version now in force. */
  readonly version: number;
  readonly causes: readonly ChangeCause[];
  /** Every value that differs. */
  readonly changes: readonly Change[];
  /** The whole configuration now; not enumerable, so that logging a change does not log the configuration. */
  readonly snapshot: Readonly<Record<string, unknown>>;
  /** The whole configuration before; not enumerable either. */
  readonly previous: Readonly<Record<string, unknown>>;
}

/** Makes a change from two snapshots. */
export function makeChange(
  next: Snapshot,
  previous: Snapshot,
  changes: readonly Change[],
  causes: readonly ChangeCause[],
): ConfigChange {
  const change = {
    version: next.version,
    causes: Object.freeze([...causes]),
    changes: Object.freeze([...changes]),
  };
  Object.defineProperties(change, {
    snapshot: { value: next.value, enumerable: false },
    previous: { value: previous.value, enumerable: false },
  });
  return Object.freeze(change) as ConfigChange;
}
