import type { ChangeCause, ConfigChange } from './change.ts';
import type { ConfigIssue } from './errors.ts';
import type { ConfigState } from './status.ts';

/** An update that was refused; the last good configuration stays in force. */
export interface RejectedUpdate {
  readonly causes: readonly ChangeCause[];
  /** The code of the error: `CONFIG_PARSE`, `CONFIG_INVALID`, `CONFIG_VETOED` or `CONFIG_SOURCE`. */
  readonly code: string;
  /** What is wrong, with file and line where known, without any value. */
  readonly message: string;
  readonly issues: readonly ConfigIssue[];
}

/** A store that came back with less than it had, or with another history. */
export interface Regression {
  /** The version in force here. */
  readonly from: number;
  /** The version the store had. */
  readonly to: number;
  /**
   * `restored`: the store had fallen back to its own past, and what it lost was put back. `merged`: somebody had committed
   * meanwhile, and their changes were put on top of what was lost.
   */
  readonly action: 'restored' | 'merged';
}

/** The events of a manager, beside `error`, which is told the error of each refused update. */
export type ConfigEvents = {
  change: [change: ConfigChange];
  rejected: [update: RejectedUpdate];
  regressed: [regression: Regression];
  state: [state: ConfigState, previous: ConfigState];
  canary: [event: CanaryEvent];
};

/** A step of a canary, as this instance saw it. */
export interface CanaryEvent {
  readonly id: string;
  readonly step: 'started' | 'applied' | 'refused' | 'promoted' | 'aborted' | 'ended';
  readonly reason?: string;
}
