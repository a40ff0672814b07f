import type { Busy, Grant, HoldRef, HoldRequest, LockBackend } from '../backend.ts';

/** Whether a server may have forgotten what it had promised. */
export interface VoterPast {
  /** Changes with every start of the server. */
  readonly runId: string;
  /** For how long it has run at least, in milliseconds. */
  readonly uptimeMs: number;
  /** The run id under which it joined this quorum; `undefined` when it never did, or has lost its data since. */
  readonly joinedAs: string | undefined;
}

/** One of the independent servers of a quorum. */
export interface Voter {
  readonly backend: LockBackend;
  /** Takes a hold if it is free here; nobody queues at a voter. Who is `patient` lets the holder know that it waits. */
  attempt(request: HoldRequest, patient: boolean): Promise<Grant | Busy>;
  /** Ends a hold that nobody was given; an attempt that was sent before does not bring it back. */
  cancel(hold: HoldRef): Promise<void>;
  /** Ends a hold in the same way. Resolves `false` when it was not held here. */
  release(hold: HoldRef): Promise<boolean>;
  /** Later tokens are larger than `last`; the hold, if it is here, was handed out with `token`. */
  confirm(hold: HoldRef, token: number, last: number): Promise<void>;
  look(): Promise<VoterPast>;
  /** Writes that the run `runId` belongs to the quorum, unless it says so already. */
  join(runId: string): Promise<void>;
  /** Calls with `true` when a connection stands (again), with `false` as soon as it does not, until it is taken back. */
  onConnection(listener: (up: boolean) => void): () => void;
}
