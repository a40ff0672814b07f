import type { Clock } from '@xiaoke/core';
import type { RedisArgument, RedisLike, RedisScript } from '@xiaoke/core/redis';
import type { Instant, Leaver, ShortWay, Taker } from '../backend.ts';
import type { RedisKeys } from './redis-keys.ts';
import { classify, encodeOwner } from './redis-reply.ts';
import { scripts } from './script-set.ts';

/** One run of a script. */
interface Call {
  readonly script: RedisScript;
  readonly keys: readonly string[];
  readonly args: readonly RedisArgument[];
  readonly onReply: (reply: unknown) => void;
  readonly onError: (error: Error) => void;
}

/** How many one command carries at most; the server serves nobody else meanwhile. */
const MAX_BATCH = 64;

/**
 * The uncontended acquisitions and releases. With many callers in flight their
 * answers come together, so their next questions do too, and one command for all of them costs a fraction of a command
 * each.
 */
export class FastLane implements ShortWay {
  readonly #client: RedisLike;
  readonly #keys: RedisKeys;
  readonly #clock: Clock;
  /** In a Cluster the keys of a command have to share a slot, so each goes alone. */
  readonly #single: boolean;
  readonly #fenceTtl: number;
  #takers: Taker[] = [];
  #leavers: Leaver[] = [];
  #scheduled = false;
  #sent: Promise<void> | undefined;
  #onSent: (() => void) | undefined;
  readonly #flush = (): void => this.#send();

  constructor(
    client: RedisLike,
    keys: RedisKeys,
    {
      clock,
      single,
      fenceTtl,
    }: { readonly clock: Clock; readonly single: boolean; readonly fenceTtl: number },
  ) {
    this.#client = client;
    this.#keys = keys;
    this.#clock = clock;
    this.#single = single;
    this.#fenceTtl = fenceTtl;
  }

  get sent(): Promise<void> | undefined {
    if (!this.#scheduled) return undefined;
    this.#sent ??= new Promise((resolve) => {
      this.#onSent = resolve;
    });
    return this.#sent;
  }

  take(taker: Taker, alone: boolean): void {
    if (this.#single || (alone && !this.#scheduled)) this.#takeOne(taker);
    else {
      this.#takers.push(taker);
      this.#schedule();
    }
  }

  leave(leaver: Leaver, alone: boolean): void {
    if (this.#single || (alone && !this.#scheduled)) this.#leaveOne(leaver);
    else {
      this.#leavers.push(leaver);
      this.#schedule();
    }
  }

  // After every microtask of this turn, before any input or timer.
  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    process.nextTick(this.#flush);
  }

  #send(): void {
    const takers = this.#takers;
    const leavers = this.#leavers;
    const onSent = this.#onSent;
    this.#takers = [];
    this.#leavers = [];
    this.#scheduled = false;
    this.#sent = undefined;
    this.#onSent = undefined;
    // Releases first: an acquisition of this turn may want what one of them gives back.
    inBatches(
      leavers,
      (one) => this.#leaveOne(one),
      (some) => this.#leaveMany(some),
    );
    inBatches(
      takers,
      (one) => this.#takeOne(one),
      (some) => this.#takeMany(some),
    );
    onSent?.();
  }

  #takeOne(taker: Taker): void {
    const { resource, holdId, lease, block, owner } = taker.request;
    const from = this.#instant();
    const base = this.#keys.base(resource);
    const keys = [`${base}x`, `${base}q`, this.#keys.globalFence ?? `${base}t`];
    this.#ask({
      script: scripts.fast,
      keys,
      args: [holdId, lease, block, encodeOwner(owner), this.#fenceTtl],
      onReply: (reply) => taker.onTaken(Number(reply), from),
      onError: (error) => taker.onTakeFailed(error),
    });
  }

  #takeMany(takers: readonly Taker[]): void {
    const from = this.#instant();
    const keys = [this.#keys.globalFence ?? ''];
    const args: RedisArgument[] = [this.#fenceTtl];
    for (const { request } of takers) {
      const base = this.#keys.base(request.resource);
      keys.push(`${base}x`, `${base}q`);
      args.push(request.holdId, request.lease, request.block, encodeOwner(request.owner));
    }
    this.#ask({
      script: scripts.fastMany,
      keys,
      args,
      onReply: (reply) => {
        const tokens = reply as readonly number[];
        for (const [index, taker] of takers.entries()) taker.onTaken(tokens[index] ?? 0, from);
      },
      onError: (error) => {
        for (const taker of takers) taker.onTakeFailed(error);
      },
    });
  }

  #leaveOne(leaver: Leaver): void {
    const { resource, holdId } = leaver.hold;
    this.#ask({
      script: scripts.releaseFast,
      keys: [`${this.#keys.base(resource)}x`],
      args: [holdId],
      onReply: (state) => leaver.onLeft(Number(state)),
      onError: (error) => leaver.onLeaveFailed(error),
    });
  }

  #leaveMany(leavers: readonly Leaver[]): void {
    const keys: string[] = [];
    const args: RedisArgument[] = [];
    for (const { hold } of leavers) {
      keys.push(`${this.#keys.base(hold.resource)}x`);
      args.push(hold.holdId);
    }
    this.#ask({
      script: scripts.releaseMany,
      keys,
      args,
      onReply: (reply) => {
        const states = reply as readonly number[];
        for (const [index, leaver] of leavers.entries()) leaver.onLeft(states[index] ?? 0);
      },
      onError: (error) => {
        for (const leaver of leavers) leaver.onLeaveFailed(error);
      },
    });
  }

  // As RedisScript.run(), which is asked only where the server has forgotten the script: a promise less for the others.
  #ask({ script, keys, args, onReply, onError }: Call): void {
    this.#client.evalsha(script.sha, keys.length, ...keys, ...args).then(onReply, (error: unknown) => {
      if (!(error instanceof Error && error.message.startsWith('NOSCRIPT'))) onError(classify(error));
      else script.run(this.#client, keys, args).then(onReply, (again: unknown) => onError(classify(again)));
    });
  }

  #instant(): Instant {
    return { monotonic: this.#clock.monotonic(), wall: this.#clock.now() };
  }
}

function inBatches<T>(all: readonly T[], one: (each: T) => void, many: (some: readonly T[]) => void): void {
  const [first] = all;
  if (all.length === 1 && first !== undefined) one(first);
  else if (all.length > 1) {
    for (let start = 0; start < all.length; start += MAX_BATCH) many(all.slice(start, start + MAX_BATCH));
  }
}
