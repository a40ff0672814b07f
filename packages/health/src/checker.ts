import type { CheckResult } from './check-result.ts';

/** What a running check is told. */
export interface CheckContext {
  /** Fires at the deadline and when the manager closes: then stop, and let go of what you hold. */
  readonly signal: AbortSignal;
  /** Milliseconds the check may take. */
  readonly timeoutMs: number;
  /** Says how far it came, such as `connect` or `query`; a timeout reports it. */
  readonly phase: (name: string) => void;
}

/** Something that can be looked at. */
export interface HealthChecker {
  /** What the check is called, unless it is registered under another name. */
  readonly name?: string;
  /**
   * A dependency is elsewhere, and never belongs into liveness: restarting this process cannot mend it.
   *
   * @default 'process'
   */
  readonly kind?: 'dependency' | 'process';
  check(context: CheckContext): CheckResult | Promise<CheckResult>;
  /** Lets go of what the checker made; a client handed to it stays open. */
  close?(): Promise<void> | void;
}
