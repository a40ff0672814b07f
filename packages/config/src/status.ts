import type { LayerKind } from './layer.ts';
import type { SourceProblem } from './source.ts';

/**
 * `starting`: no valid configuration yet. `ready`: everything in force is the newest. `stale`: the store or the remote
 * source does not answer, and the last good copy serves. `degraded`: something newer was refused. `closed`: reading goes
 * on, nothing changes any more.
 */
export type ConfigState = 'starting' | 'ready' | 'stale' | 'degraded' | 'closed';

/** One source, as this process sees it. */
export interface SourceStatus {
  readonly name: string;
  readonly kind: LayerKind;
  readonly ok: boolean;
  readonly problem?: SourceProblem;
  /** What whoever runs this should know, although nothing is wrong yet. */
  readonly note?: string;
  /** Seconds since it last gave something readable. */
  readonly ageSeconds?: number;
}

/** What this process saw. */
export interface ConfigStats {
  readonly state: ConfigState;
  readonly version: number;
  /** Updates that changed a value. */
  readonly applied: number;
  /** Updates that changed nothing. */
  readonly unchanged: number;
  /** Updates that were refused. */
  readonly rejected: number;
  readonly commits: number;
  /** Commits that had to be made again because another process was first. */
  readonly conflicts: number;
  readonly rollbacks: number;
  readonly regressions: number;
  readonly callbackErrors: number;
  readonly subscribers: number;
  readonly sources: readonly SourceStatus[];
}
