import type { Clock, Closeable, Duration, HealthIndicator, Logger } from '@xiaoke/core';
import type { PostAnswer, PostRequest } from './post.ts';

/** What all ways of pushing have in common. */
export interface PushOptions {
  readonly url: string;
  /** Added to every request, such as `authorization`. */
  readonly headers?: Readonly<Record<string, string>>;
  /** How often to push. `0` pushes only when {@link Pusher.push} is called, and at the end. @default '10s' */
  readonly interval?: Duration;
  /** How long one request may take. @default '10s' */
  readonly timeout?: Duration;
  readonly logger?: Logger;
  readonly clock?: Clock;
}

/** As {@link PushOptions}, for receivers that want every instant and not only the last. */
export interface BufferedPushOptions extends PushOptions {
  /** What waits for a receiver that is away; beyond it the oldest goes, counted. @default 16 MiB */
  readonly maxBufferBytes?: number;
}

/** What a pusher did. */
export interface PushStats {
  /** Requests that were taken. */
  readonly sent: number;
  /** Attempts that failed and will be made again. */
  readonly failed: number;
  /** Requests that were refused, or had to make room. */
  readonly dropped: number;
  /** Requests that wait. */
  readonly pending: number;
  readonly pendingBytes: number;
}

/**
 * Pushes a collector's metrics to a receiver.
 *
 * Guarantees: a receiver that is slow or away never delays a measurement and never takes more than the buffer's memory;
 * requests are sent in order, one at a time; what the receiver refuses for good (4xx but 429) is dropped and counted, all
 * else is tried again with growing pauses.
 */
export interface Pusher extends Closeable {
  /**
   * Collects and sends now.
   *
   * @throws `PUSH_FAILED` when the receiver cannot be reached, refuses, or does not answer in time; what can be sent later
   * stays in the buffer
   */
  push(): Promise<void>;
  stats(): PushStats;
  /** `degraded` while the last attempt failed. */
  healthIndicator(): HealthIndicator;
  /** Pushes a last time, within `timeout` (5 seconds), and ends. */
  close(options?: { readonly timeout?: Duration }): Promise<void>;
}

/** A request that is ready to be sent. */
export interface Payload extends PostRequest {
  /** What it takes of the buffer. */
  readonly bytes: number;
}

/** What an answer means. */
export type Verdict =
  | { readonly kind: 'sent' }
  /** Taken in part. */
  | { readonly kind: 'partial'; readonly reason: string }
  | { readonly kind: 'refused'; readonly reason: string }
  | { readonly kind: 'retry'; readonly reason: string; readonly after: number | undefined };

/** One kind of receiver. */
export interface PushTarget {
  /** Names it in metrics, logs and health. */
  readonly name: string;
  /** Whether only the last collection is worth sending. */
  readonly latestOnly: boolean;
  collect(): Promise<readonly Payload[]>;
  judge(answer: PostAnswer): Verdict;
  /** Sent after the last push. */
  last?(): Payload;
}

/** What answers mean to most receivers. */
export function judgeStatus(answer: PostAnswer, retried: (status: number) => boolean): Verdict {
  const { status, retryAfter: after } = answer;
  if (status >= 200 && status < 300) return { kind: 'sent' };
  const reason = `the receiver answered ${status}`;
  return retried(status) ? { kind: 'retry', reason, after } : { kind: 'refused', reason };
}
