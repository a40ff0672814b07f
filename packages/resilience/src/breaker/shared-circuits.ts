/** What a circuit tells those who share its state, and what it lets them do. */
export interface SharedCircuitMember {
  readonly name: string;
  /** Opens it on behalf of others, until told otherwise, or until `until` (monotonic) when they fall silent. */
  openRemotely(until: number): void;
  /** Lets it try its probes now, on behalf of all. `false` when it is closed and so has nothing to find out. */
  probeRemotely(): boolean;
  /** Closes it, since the probes of another process succeeded. */
  closeRemotely(): void;
}

/** A group of processes that share openings; made by `createSharedCircuits`. Nothing here is on the way of a call. */
export interface SharedCircuits {
  join(member: SharedCircuitMember): SharedCircuitMembership;
}

/** The side of the group that a circuit calls; every method returns at once. */
export interface SharedCircuitMembership {
  /** The circuit opened by its own judgement, for `openForMs`. */
  opened(openForMs: number): void;
  /** Its probes succeeded. */
  closed(): void;
}
