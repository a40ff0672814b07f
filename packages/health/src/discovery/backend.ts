/**
 * The seam between the registry and where instances are written down. One backend serves one process; several processes
 * on one store see the same. All times are of the store's own clock, never of a client's.
 *
 * The rules every backend keeps:
 * - A record lives until its lease ends; whoever asks next takes out what has ended, and everybody who listens is told.
 * - Every change of a service gets a version that is larger than all before, also after the store lost its data.
 * - `epoch` names one memory of the store: it is another one after the store lost its data.
 * - Every call is safe to repeat, and ends within the command timeout.
 */

/** One instance as the store holds it. */
export interface InstanceRecord {
  readonly id: string;
  /** The instance, encoded. */
  readonly body: string;
}

/** What is registered, and by whom: of two registrations under one id the later one counts. */
export interface RegistrationRecord extends InstanceRecord {
  readonly service: string;
  /** Names this registration, so that an earlier one under the same id can neither renew nor remove it. */
  readonly owner: string;
  readonly ttlMs: number;
}

/** What became of a heartbeat: `unknown` if the store does not know the id, `replaced` if somebody else has it. */
export type BeatOutcome = 'renewed' | 'unknown' | 'replaced';

/** The state of a service. */
export interface ServiceState {
  readonly epoch: string;
  readonly version: number;
  /** How long until the next lease can end; `undefined` without instances. */
  readonly nextExpiryMs: number | undefined;
  /** `undefined` when the asker knows this version already. */
  readonly content: ServiceContent | undefined;
}

/** Everything about a service. */
export interface ServiceContent {
  readonly records: readonly InstanceRecord[];
  /** Ids that said goodbye in the last minutes: they are gone, whatever else is in doubt. */
  readonly departed: readonly string[];
}

/** One change, told to those who listen; a hint, since it can be lost. */
export interface ServiceChange {
  readonly service: string;
  readonly epoch: string;
  readonly version: number;
  /** `put` was registered or changed, `leave` said goodbye, `expire` let its lease end. */
  readonly kind: 'put' | 'leave' | 'expire';
  readonly id: string;
  /** With `put`. */
  readonly body: string | undefined;
}

/** What a backend tells. */
export interface BackendListener {
  onChange(change: ServiceChange): void;
  /** Changes may have been missed, or the store is reachable again. */
  onGap(): void;
}

/** Where instances are read. */
export interface ServiceReader {
  /** The state of a service; may leave out the content when the asker's version is the present one. */
  read(service: string, known?: { readonly epoch: string; readonly version: number }): Promise<ServiceState>;
  /** Changes of `service` are told from now on. */
  listen(service: string): Promise<void>;
  unlisten(service: string): Promise<void>;
}

/** Where instances are written down. */
export interface RegistryBackend extends ServiceReader {
  /** Connects; resolves in any case, and in bounded time. */
  start(listener: BackendListener): Promise<void>;
  /** Writes an instance down, or changes it. Resolves to the new version. */
  put(record: RegistrationRecord): Promise<number>;
  /** Renews several leases in one go; one outcome each. */
  beat(records: readonly RegistrationRecord[]): Promise<readonly BeatOutcome[]>;
  /** Takes an instance out, if `owner` still has it. */
  leave(record: Pick<RegistrationRecord, 'service' | 'id' | 'owner'>): Promise<void>;
  services(): Promise<readonly string[]>;
  /** Idempotent, at most `timeout` milliseconds. */
  close(timeout: number): Promise<void>;
}
