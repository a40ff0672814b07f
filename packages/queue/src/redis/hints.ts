import { systemClock, type Background, type Timer } from '@xiaoke/core';
import type { RedisSubscriber } from '@xiaoke/core/redis';
import type { Keys, PartitionKeys } from './keys.ts';
import type { RedisLink } from './link.ts';

/** What hints need. */
export interface HintOptions {
  readonly keys: Keys;
  readonly subscriber: () => RedisSubscriber;
  readonly background: Background;
  readonly ask: <T>(attempt: (link: RedisLink) => Promise<T>) => Promise<T>;
}

// Ended tasks are announced only while somebody says that he listens.
const INTEREST_MS = 15_000;
const RENEW_MS = 5_000;

/** What others announce: ended tasks, cancellations, changed schedules. Every announcement may be missed. */
export class Hints {
  readonly #options: HintOptions;
  readonly #finished = new Set<(ids: readonly string[]) => void>();
  readonly #scheduleChanges = new Set<() => void>();
  #subscriber: RedisSubscriber | undefined;
  #cancel: ((id: string, why: string) => void) | undefined;
  #subscribedFinished = false;
  #subscribedSchedules = false;
  #interest: Timer | undefined;

  constructor(options: HintOptions) {
    this.#options = options;
  }

  onFinished(listener: (ids: readonly string[]) => void): () => void {
    this.#finished.add(listener);
    this.#interest ??= systemClock.setInterval(() => this.#showInterest(), RENEW_MS).unref();
    this.#showInterest();
    if (!this.#subscribedFinished) {
      this.#subscribedFinished = true;
      this.#subscribe(
        ({ finishedChannel }) => finishedChannel,
        (message) => this.#tell(message.split('\n')),
      );
    }
    return () => {
      this.#finished.delete(listener);
      if (this.#finished.size > 0) return;
      this.#interest?.cancel();
      this.#interest = undefined;
    };
  }

  /** There is one listener; the first stays. */
  onCancel(listener: (id: string, why: string) => void): void {
    if (this.#cancel !== undefined) return;
    this.#cancel = listener;
    this.#subscribe(
      ({ cancelChannel }) => cancelChannel,
      (message) => {
        const split = message.indexOf('\n');
        listener(message.slice(0, split), message.slice(split + 1));
      },
    );
  }

  onScheduleChange(listener: () => void): () => void {
    this.#scheduleChanges.add(listener);
    if (!this.#subscribedSchedules) {
      this.#subscribedSchedules = true;
      this.#subscribe(
        ({ scheduleChannel }) => scheduleChannel,
        () => {
          for (const change of this.#scheduleChanges) change();
        },
      );
    }
    return () => this.#scheduleChanges.delete(listener);
  }

  close(): void {
    this.#interest?.cancel();
    this.#subscriber?.close();
  }

  #subscribe(channelOf: (keys: PartitionKeys) => string, listener: (message: string) => void): void {
    this.#subscriber ??= this.#options.subscriber();
    const subscriber = this.#subscriber;
    for (const keys of this.#options.keys.partitions) {
      this.#options.background.run(async () => {
        try {
          await subscriber.subscribe(channelOf(keys), listener);
        } catch {
          // The subscriber keeps the listener and subscribes when the server is back.
        }
      }, 'subscribe');
    }
  }

  /** After the interest is known, everything awaited is looked at once: what ended before was not announced. */
  #showInterest(): void {
    this.#options.background.run(async () => {
      const until = await this.#options.ask(async (link) => {
        const [seconds] = (await link.call('TIME')) as [string, string];
        return Number(seconds) * 1_000 + INTEREST_MS;
      });
      await Promise.all(
        this.#options.keys.partitions.map(({ config }) =>
          this.#options.ask((link) => link.call('HSET', config, 'w', until)),
        ),
      );
      this.#tell([]);
    }, 'show interest in results');
  }

  #tell(ids: readonly string[]): void {
    for (const listener of this.#finished) listener(ids);
  }
}
