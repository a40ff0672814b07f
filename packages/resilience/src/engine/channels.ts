import { channel, type Channel } from 'node:diagnostics_channel';
import type { CircuitTransition } from '../breaker/breaker-stats.ts';
import type { RetryEvent } from '../retry/retry-run.ts';
import type { Outcome } from './scope.ts';

/** A call through a pipeline that ended, as told on `xiaoke:resilience:call`. */
export interface CallMessage {
  readonly pipeline: string;
  readonly outcome: Outcome;
  readonly durationMs: number;
  /** The code of the refusal, when it was refused. */
  readonly code: string | undefined;
}

/** A retry that is about to happen, as told on `xiaoke:resilience:retry`. */
export type RetryMessage = RetryEvent;

/** A circuit that changed, as told on `xiaoke:resilience:transition`. */
export type TransitionMessage = CircuitTransition;

/**
 * What every policy of the process tells to whoever subscribes (tracers, metrics), without being asked for: channels of
 * `node:diagnostics_channel`. Nobody subscribed, nothing is made.
 */
export const callChannel: Channel = channel('xiaoke:resilience:call');
export const retryChannel: Channel = channel('xiaoke:resilience:retry');
export const transitionChannel: Channel = channel('xiaoke:resilience:transition');
