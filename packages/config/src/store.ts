/** What a commit was. */
export type CommitKind = 'set' | 'rollback' | 'canary' | 'restore';

/** What is kept about a version, beside its document. No values. */
export interface VersionMeta {
  readonly kind: CommitKind;
  readonly author?: string;
  readonly reason?: string;
  /** The paths that differ from the version before. */
  readonly paths: readonly string[];
  /** For a rollback: the version whose document it took. */
  readonly to?: number;
}

/** What the store holds now; version 0 with an empty document means that it holds nothing. */
export interface StoreHead {
  readonly version: number;
  readonly digest: string;
  readonly document: string;
  /**
   * The digests of the versions before, newest first, as `version:digest` in short: by it an instance tells a store that
   * lost its newest versions (they are put back) from one where somebody went another way (the store wins).
   */
  readonly trail: readonly string[];
}

/** A change of the head, if it still is what the writer saw. */
export interface CommitRequest {
  readonly expected: StoreHead;
  readonly document: string;
  readonly digest: string;
  readonly trail: readonly string[];
  readonly meta: VersionMeta;
  /** Names this commit, so that sending it twice commits once. */
  readonly request: string;
  readonly maxVersions: number;
  /** The version it must get, when a lost one is put back; otherwise the next. */
  readonly version?: number;
}

/** What became of a {@link CommitRequest}. */
export type CommitOutcome =
  | { readonly outcome: 'committed'; readonly version: number }
  | { readonly outcome: 'conflict'; readonly currentVersion: number };

/** A version in the store's history. */
export interface StoredVersion {
  readonly version: number;
  /** Milliseconds since the epoch, by the store's clock. */
  readonly at: number;
  readonly meta: VersionMeta;
}

/** A change on trial, as the store keeps it. */
export interface StoredCanary {
  readonly id: string;
  /** What is tried, as JSON. */
  readonly plan: string;
  readonly startedAt: number;
}

/** What an instance found when it tried the canary. */
export interface CanaryReport {
  readonly instance: string;
  readonly ok: boolean;
  /** A stable word for what is wrong. */
  readonly code?: string;
}

/** A commit as the store told it: enough to follow without asking, for whoever stands at what it follows. */
export interface StoreNews {
  /** Version and digest of the head it was committed on. */
  readonly follows: { readonly version: number; readonly digest: string };
  readonly version: number;
  readonly digest: string;
  readonly document: string;
}

/** Whoever follows the store. Called whenever something may have changed, and when the connection comes or goes. */
export interface StoreListener {
  /**
   * Look again: something may have changed. With `news`, nothing has but these commits, in order; who stands at the first
   * one's `follows` is at the last one by taking it over. For everybody else they are a hint, never the truth.
   */
  onHint(news?: readonly StoreNews[]): void;
  onAvailable(): void;
  onUnavailable(reason: string): void;
}

/**
 * The seam between the manager and where run-time values live. The whole document is replaced or nothing is: a commit
 * happens only if the head still has the expected version and digest. Every operation is bounded in time, rejects with
 * a StoreUnavailableError when the store does not answer, and may be repeated safely.
 */
export interface ConfigStore {
  /** `redis` or `memory`, for `explain` and logs. */
  readonly name: string;
  /** The head now, or `undefined` when the store is empty. */
  read(): Promise<StoreHead | undefined>;
  commit(request: CommitRequest): Promise<CommitOutcome>;
  /** The kept versions, newest first. */
  history(): Promise<readonly StoredVersion[]>;
  /** The document of a kept version. */
  document(version: number): Promise<string | undefined>;
  canary(): Promise<{ readonly canary: StoredCanary; readonly reports: readonly CanaryReport[] } | undefined>;
  /** Starts a trial; `false` when there is one already. */
  startCanary(canary: Omit<StoredCanary, 'startedAt'>): Promise<boolean>;
  /** Ends the trial of that id; `false` when it was over. */
  endCanary(id: string): Promise<boolean>;
  reportCanary(id: string, report: CanaryReport): Promise<void>;
  /** Starts telling `listener`. */
  follow(listener: StoreListener): Promise<void>;
  close(timeout: number): Promise<void>;
}

const TRAIL_LENGTH = 64;

/** The trail of the version that follows `head`. */
export function nextTrail(head: StoreHead): string[] {
  if (head.version === 0) return [];
  return [trailMark(head.version, head.digest), ...head.trail].slice(0, TRAIL_LENGTH);
}

/** How a version stands in a trail. */
export function trailMark(version: number, digest: string): string {
  return `${version}:${digest.slice(0, 16)}`;
}

/** The trail of a version that comes after two others: both find themselves in it. */
export function joinTrails(one: readonly string[], other: readonly string[]): string[] {
  const marks = new Set<string>();
  for (let index = 0; index < Math.max(one.length, other.length); index += 1) {
    for (const mark of [one[index], other[index]]) if (mark !== undefined) marks.add(mark);
  }
  return [...marks].slice(0, TRAIL_LENGTH);
}
