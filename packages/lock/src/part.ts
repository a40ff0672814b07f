import type { Resource } from './backend.ts';
import type { LockLostError } from './errors.ts';
import type { Hold } from './hold.ts';
import type { ReentrySlot } from './reentry.ts';
import type { Waiting } from './attempt.ts';

/** Whoever uses a part. */
export interface PartUser {
  onLost(error: LockLostError): void;
}

/** One key of a lock: a hold of its own, a turn on a hold that the process shares, or a re-entry. */
export abstract class Part {
  readonly resource: Resource;
  /** The waits of code that runs inside this part; while there is one, this part will not be released. Made when needed. */
  waits: Set<Waiting> | undefined;
  /** Those that entered again. */
  slot: ReentrySlot | undefined;
  /** Told once when it is lost. */
  user: PartUser | undefined;

  constructor(resource: Resource) {
    this.resource = resource;
  }

  /** The hold at the backend that it rests on. */
  abstract readonly hold: Hold;
  abstract readonly token: number;
  /** Milliseconds for which it is certain. */
  abstract remaining(): number;
  /** Resolves `false` when it was not held any more. */
  abstract release(): Promise<boolean>;
  /** As {@link release}, for a caller who does not wait for the answer. */
  abstract releaseQuietly(): void;
}
