import type { Clock, Logger } from '@xiaoke/core';
import type { LockBackend } from './backend.ts';
import { marginOf, type Hold } from './hold.ts';
import type { Timeline } from './timeline.ts';

/** What the keeper reports. */
export interface KeeperEvents {
  onRenewed(hold: Hold): void;
  onRenewalFailed(hold: Hold, error: unknown): void;
}

/**
 * Watches every lease of the manager with one timer. A lease is renewed when a third of it has passed, together with
 * all others that are due, and again every tenth of it while that fails. Whatever the network does, a hold is given up
 * by the local clock before its lease can be over on the server.
 */
export class LeaseKeeper {
  readonly #timeline: Timeline;
  readonly #backend: LockBackend;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #events: KeeperEvents;
  readonly #batch: Hold[] = [];

  constructor(
    backend: LockBackend,
    timeline: Timeline,
    { clock, logger }: { readonly clock: Clock; readonly logger: Logger },
    events: KeeperEvents,
  ) {
    this.#timeline = timeline;
    this.#backend = backend;
    this.#clock = clock;
    this.#logger = logger;
    this.#events = events;
  }

  /** Starts to watch `hold`, or watches it by its new lease. */
  watch(hold: Hold): void {
    hold.renewAt = hold.autoExtend ? hold.from.monotonic + hold.lease / 3 : Infinity;
    // The last lease of a hold that nears its limit is not renewed any more.
    if (hold.from.monotonic + hold.lease - marginOf(hold.lease) >= hold.until) hold.renewAt = Infinity;
    this.#schedule(hold);
  }

  /** Stops to watch it. */
  drop(hold: Hold): void {
    this.#timeline.cancel(hold);
  }

  /** Renews it out of turn, to learn whether it is still held; one that is not to be extended is left alone. */
  renewNow(hold: Hold): void {
    if (hold.renewAt === Infinity || hold.over !== undefined) return;
    hold.renewAt = this.#clock.monotonic();
    this.onDue(hold);
  }

  #schedule(hold: Hold): void {
    const now = this.#clock.monotonic();
    const deadline = now + hold.remaining();
    this.#timeline.schedule(hold, Math.min(hold.renewAt, deadline));
  }

  /** Its renewal or its deadline is due. */
  onDue(hold: Hold): void {
    if (hold.over !== undefined) return;
    const now = this.#clock.monotonic();
    if (hold.remaining() <= 0) {
      // The lease may be seen to end up to a margin before the limit that it was cut to.
      const limited = now + marginOf(hold.lease) >= hold.until;
      hold.lose(limited ? 'max-hold' : hold.unanswered ? 'connection' : 'expired');
      return;
    }
    if (now >= hold.renewAt) {
      hold.renewAt = now + hold.lease / 10;
      // Everything that is due now goes out together.
      if (this.#batch.push(hold) === 1) queueMicrotask(() => this.#flush());
    }
    this.#schedule(hold);
  }

  #flush(): void {
    const holds = this.#batch.splice(0).filter((hold) => hold.over === undefined);
    if (holds.length === 0) return;
    const now = this.#clock.monotonic();
    const requests = holds.map(({ resource, holdId, mode, token, ttl, until }) => ({
      resource,
      holdId,
      mode,
      token,
      lease: Math.ceil(Math.min(ttl, until - now + marginOf(ttl))),
    }));
    for (const hold of holds) hold.unanswered = true;
    this.#backend.renew(requests).then(
      (answers) => {
        for (const [index, hold] of holds.entries())
          this.#apply(hold, requests[index]?.lease ?? 0, answers[index]);
      },
      (error: unknown) => {
        for (const hold of holds)
          this.#apply(hold, 0, error instanceof Error ? error : new Error(String(error)));
      },
    );
  }

  #apply(
    hold: Hold,
    lease: number,
    answer: Awaited<ReturnType<LockBackend['renew']>>[number] | undefined,
  ): void {
    if (hold.over !== undefined || answer === undefined) return;
    if (answer instanceof Error) {
      this.#logger.warn(
        { err: answer, key: hold.resource.key },
        'a lease could not be renewed; trying again',
      );
      this.#events.onRenewalFailed(hold, answer);
      return;
    }
    if (!answer.held) {
      hold.lose('stolen');
      return;
    }
    hold.confirm(lease, answer.from);
    if (answer.contended && !hold.contended) {
      hold.contended = true;
      hold.user?.onContended(false);
    }
    this.#events.onRenewed(hold);
    this.watch(hold);
  }
}
