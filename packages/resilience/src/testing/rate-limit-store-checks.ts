import type { RateLimitStore } from '../rate-limit/rate-limit-store.ts';

/** One thing that a store must do. */
export interface RateLimitStoreCheck {
  /** A sentence, for the name of the test. */
  readonly name: string;
  /** Rejects when the store does not. `key` is one that nobody else uses. */
  run(store: RateLimitStore, key: string): Promise<void>;
}

// Slow enough that nothing becomes free while a check runs, however loaded the machine is.
const RATE = { limit: 1, perMs: 5_000, burst: 3 };

/** What every {@link RateLimitStore} must do. No check waits. */
export const rateLimitStoreChecks: readonly RateLimitStoreCheck[] = [
  {
    name: 'a burst is granted at once, and what is beyond is refused with a time',
    async run(store, key) {
      const decisions = [];
      for (let call = 0; call < 4; call += 1) decisions.push(await store.take(key, RATE, 0));
      const granted = decisions.map((decision) => decision.granted);
      assert(granted.join() === 'true,true,true,false', `granted ${granted.join()}`);
      const wait = decisions[3]?.waitMs ?? 0;
      assert(wait > 0 && wait <= 5_000, `refused for ${wait} ms instead of at most 5000`);
    },
  },
  {
    name: 'callers that wait get one turn after the other',
    async run(store, key) {
      const once = { ...RATE, burst: 1 };
      const waits: number[] = [];
      for (let call = 0; call < 4; call += 1) waits.push((await store.take(key, once, 60_000)).waitMs);
      const later = waits.every((wait, index) => index === 0 || wait > (waits[index - 1] ?? 0));
      assert(
        later && (waits[3] ?? 0) > 10_000 && (waits[3] ?? 0) <= 15_000,
        `the waits were ${waits.join()}`,
      );
    },
  },
  {
    name: 'a refusal takes no place',
    async run(store, key) {
      const slow = { limit: 5, perMs: 1_000, burst: 1 };
      await store.take(key, slow, 0);
      const before = await store.take(key, slow, 0);
      for (let call = 0; call < 20; call += 1) await store.take(key, slow, 0);
      const after = await store.take(key, slow, 0);
      assert(after.waitMs <= before.waitMs, `the wait grew from ${before.waitMs} to ${after.waitMs}`);
    },
  },
  {
    name: 'keys have nothing to do with each other',
    async run(store, key) {
      const once = { ...RATE, burst: 1 };
      await store.take(`${key}-a`, once, 0);
      assert((await store.take(`${key}-b`, once, 0)).granted, 'another key used up the place');
    },
  },
];

function assert(holds: boolean, problem: string): void {
  if (!holds) throw new Error(problem);
}
