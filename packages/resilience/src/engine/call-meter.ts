import { callChannel, type CallMessage } from './channels.ts';
import { LatencyHistogram } from './latency-histogram.ts';
import type { Outcome, Scope } from './scope.ts';

/** What became of the calls of a pipeline. Every call is in exactly one of the four outcomes. */
export interface CallCounts {
  readonly calls: number;
  readonly succeeded: number;
  /** Ended with an error of the operation or of a limit of time. */
  readonly failed: number;
  /** Aborted by the caller. */
  readonly cancelled: number;
  /** Refused by a policy. */
  readonly rejected: number;
  /** The refused ones by code. */
  readonly rejectedBy: Readonly<Record<string, number>>;
  /** Milliseconds below which the share of the calls that ran took; 0 before the first. */
  readonly latencyMs: { readonly p50: number; readonly p95: number; readonly p99: number };
}

/** Counts the calls of one pipeline. */
export class CallMeter {
  readonly #counts: Record<Outcome, number> = { success: 0, failure: 0, cancelled: 0, rejected: 0 };
  readonly #rejectedBy = new Map<string, number>();
  readonly #latency = new LatencyHistogram();
  readonly #pipeline: string;
  readonly #onCall: ((outcome: Outcome, durationMs: number) => void) | undefined;

  constructor(pipeline: string, onCall?: (outcome: Outcome, durationMs: number) => void) {
    this.#pipeline = pipeline;
    this.#onCall = onCall;
  }

  record(scope: Scope, begun: number): void {
    const { outcome, endedAt, settled } = scope;
    this.#counts[outcome] += 1;
    if (outcome === 'rejected') this.#countRejection(settled);
    else this.#latency.record(endedAt - begun);
    if (this.#onCall !== undefined || callChannel.hasSubscribers) this.#announce(scope, begun);
  }

  counts(): CallCounts {
    const { success, failure, cancelled, rejected } = this.#counts;
    return {
      calls: success + failure + cancelled + rejected,
      succeeded: success,
      failed: failure,
      cancelled,
      rejected,
      rejectedBy: Object.fromEntries(this.#rejectedBy),
      latencyMs: this.#latency.summary(),
    };
  }

  #announce(scope: Scope, begun: number): void {
    if (callChannel.hasSubscribers) this.#publish(scope, begun);
    if (this.#onCall !== undefined) this.#tell(this.#onCall, scope.outcome, scope.endedAt - begun);
  }

  #publish({ outcome, endedAt, settled }: Scope, begun: number): void {
    const code = outcome === 'rejected' ? codeOf(settled) : undefined;
    callChannel.publish({
      pipeline: this.#pipeline,
      outcome,
      durationMs: endedAt - begun,
      code,
    } satisfies CallMessage);
  }

  #tell(onCall: (outcome: Outcome, durationMs: number) => void, outcome: Outcome, durationMs: number): void {
    try {
      onCall(outcome, durationMs);
    } catch {
      // Whoever listens does not take part in the call.
    }
  }

  #countRejection(error: unknown): void {
    const code = codeOf(error);
    this.#rejectedBy.set(code, (this.#rejectedBy.get(code) ?? 0) + 1);
  }
}

function codeOf(error: unknown): string {
  return typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : 'UNKNOWN';
}
