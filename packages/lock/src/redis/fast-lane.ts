import type { RedisArgument, RedisLike, RedisScript } from '@xiaoke/core/redis';
import { scripts } from './script-set.ts';

interface Entry {
  readonly keys: readonly string[];
  readonly args: readonly RedisArgument[];
  readonly resolve: (reply: number) => void;
  readonly reject: (error: unknown) => void;
}

/** How many one command carries at most; the server serves nobody else meanwhile. */
const MAX_BATCH = 64;

/**
 * Sends together what one turn of the event loop wants: with many callers in flight their answers come together, so
 * their next questions do too. One command for all of them costs a fraction of a command each. With one caller nothing
 * is waited for: the flush runs before anything else can.
 */
class Batch {
  readonly #client: RedisLike;
  readonly #one: RedisScript;
  readonly #many: RedisScript;
  readonly #leadKeys: readonly string[];
  readonly #leadArgs: readonly RedisArgument[];
  #entries: Entry[] = [];

  constructor(
    client: RedisLike,
    { one, many }: { readonly one: RedisScript; readonly many: RedisScript },
    leadKeys: readonly string[],
    leadArgs: readonly RedisArgument[],
  ) {
    this.#client = client;
    this.#one = one;
    this.#many = many;
    this.#leadKeys = leadKeys;
    this.#leadArgs = leadArgs;
  }

  ask(keys: readonly string[], args: readonly RedisArgument[]): Promise<number> {
    return new Promise((resolve, reject) => {
      // After every microtask of this turn, before any input or timer.
      if (this.#entries.push({ keys, args, resolve, reject }) === 1) process.nextTick(() => this.#flush());
    });
  }

  #flush(): void {
    const entries = this.#entries;
    this.#entries = [];
    const [only] = entries;
    if (entries.length === 1 && only !== undefined) {
      const { keys, args, resolve, reject } = only;
      this.#one
        .run(this.#client, [...keys, ...this.#leadKeys], [...args, ...this.#leadArgs])
        .then(resolve as never, reject);
      return;
    }
    for (let start = 0; start < entries.length; start += MAX_BATCH)
      this.#send(entries.slice(start, start + MAX_BATCH));
  }

  #send(entries: readonly Entry[]): void {
    const keys: string[] = [...this.#leadKeys];
    const args: RedisArgument[] = [...this.#leadArgs];
    for (const entry of entries) {
      keys.push(...entry.keys);
      args.push(...entry.args);
    }
    this.#many.run(this.#client, keys, args).then(
      (replies) => {
        for (const [index, { resolve }] of entries.entries()) resolve((replies as number[])[index] ?? 0);
      },
      (error: unknown) => {
        for (const { reject } of entries) reject(error);
      },
    );
  }
}

/** The uncontended acquisitions and releases of a server whose keys may share a command. */
export class FastLane {
  readonly #acquisitions: Batch;
  readonly #releases: Batch;

  constructor(client: RedisLike, fence: string) {
    const acquire = { one: scripts.fast, many: scripts.fastMany };
    this.#acquisitions = new Batch(client, acquire, [fence], [0]);
    this.#releases = new Batch(client, { one: scripts.releaseFast, many: scripts.releaseMany }, [], []);
  }

  /** Resolves to the first token, or 0 when it is not free. `args`: id, lease, block, owner. */
  acquire(keys: readonly [x: string, q: string], args: readonly RedisArgument[]): Promise<number> {
    return this.#acquisitions.ask(keys, args);
  }

  /** Resolves to 1 released, 0 not held, 2 somebody waits. */
  release(x: string, holdId: string): Promise<number> {
    return this.#releases.ask([x], [holdId]);
  }
}
