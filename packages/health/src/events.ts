import type { StatusChange } from './snapshot.ts';

/** The events of a manager. */
export interface HealthEvents {
  /** The status of a check, a group or the whole changed. */
  change: [change: StatusChange];
  /** A check keeps changing. */
  flapping: [event: { readonly check: string }];
  /** A recovery action ended. */
  recovery: [
    event: {
      readonly check: string;
      readonly attempt: number;
      readonly outcome: 'done' | 'failed' | 'exhausted';
      readonly error?: unknown;
    },
  ];
}
