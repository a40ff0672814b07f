import type { Duration } from './duration.ts';

/** Limits a {@link Closeable.close}. */
export interface CloseOptions {
  /** How long closing may take before the rest is given up. */
  readonly timeout?: Duration;
}

/** Something that holds resources. */
export interface Closeable extends AsyncDisposable {
  /** Lets go of everything it made. Idempotent, bounded in time, also when its server is down. */
  close(options?: CloseOptions): Promise<void>;
}
