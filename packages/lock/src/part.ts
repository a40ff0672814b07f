import type { Resource } from './backend.ts';
import type { LockLostError } from './errors.ts';
import type { Hold } from './hold.ts';
import type { ReentrySlot } from './reentry.ts';
import type { Waiting } from './attempt.ts';

/** One key of a lock: a hold of its own, a turn on a hold that the process shares, or a re-entry. */
export abstract class Part {
  readonly resource: Resource;
  /** The waits of code that runs inside this part; while there is one, this part will not be released. */
  readonly waits: Set<Waiting> = new Set();
  /** Those that entered again. */
  slot: ReentrySlot | undefined;
  /** Called once when it is lost. */
  onLost: (error: LockLostError) => void = () => {};

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
}
