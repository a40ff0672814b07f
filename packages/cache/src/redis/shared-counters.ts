import { RedisScript, type RedisLike } from '@xiaoke/core/redis';
import type { CoarseTime } from '../coarse-time.ts';
import type { Counter } from '../counters.ts';
import type { Gate } from './gate.ts';
import type { RedisKeys } from './keys.ts';
import type { Reader } from './reader.ts';
import { bumpScript, counterScript } from './scripts.generated.ts';

const COUNTER = new RedisScript(counterScript.source);
const BUMP = new RedisScript(bumpScript.source);

// Nothing that exists depends on the new version; what comes will ask for as long as it needs.
const LIFE_AFTER_BUMP = 172_800_000;

/** What shared counters need of their tier. */
export interface SharedCountersParts {
  readonly gate: Gate;
  readonly keys: RedisKeys;
  readonly reader: Reader;
  readonly time: CoarseTime;
}

/** The versions of tags and namespaces that all processes share. Methods reject with AwayError, apart from `learn`. */
export class SharedCounters {
  readonly #parts: SharedCountersParts;

  constructor(parts: SharedCountersParts) {
    this.#parts = parts;
  }

  /** Makes sure each exists, is known here, and outlives what will be written within `keepFor` milliseconds. */
  async ensure(counters: readonly Counter[], keepFor: number): Promise<void> {
    const now = this.#parts.time.now();
    const asked = counters.filter(
      ({ shared, keptUntil }) => shared === undefined || keptUntil < now + keepFor,
    );
    if (asked.length === 0) return;
    // Kept for twice as long as needed, so that it is asked once in a while and not for every write.
    const life = Math.ceil(2 * keepFor);
    const versions = await this.#parts.gate.run('claim', (client) =>
      Promise.all(asked.map(({ id }) => COUNTER.run(client, [this.#parts.keys.counter(id)], [life]))),
    );
    asked.forEach((one, i) => {
      learn(one, Number(versions[i]));
      one.keptUntil = now + life;
    });
  }

  /** Makes sure each is known here, as far as it exists. */
  async learn(counters: readonly Counter[]): Promise<void> {
    const unknown = counters.filter(({ shared }) => shared === undefined);
    if (unknown.length === 0) return;
    const { reader, keys } = this.#parts;
    await Promise.all(
      unknown.map(
        (one) =>
          new Promise<void>((resolve) => {
            const receive = (bytes: Buffer | null | undefined): void => {
              if (bytes !== null && bytes !== undefined) learn(one, Number(bytes.toString()));
              resolve();
            };
            reader.read({ key: keys.counter(one.id), receive });
          }),
      ),
    );
  }

  /** Invalidates each. Returns the new versions; a counter that had to be deleted has the version 0, which nothing has. */
  async bump(
    client: RedisLike,
    counters: readonly Counter[],
  ): Promise<readonly (readonly [id: string, version: number])[]> {
    const { keys } = this.#parts;
    const replies = await Promise.all(
      counters.map(({ id }) => BUMP.run(client, [keys.counter(id)], [LIFE_AFTER_BUMP])),
    );
    return counters.map((one, i) => {
      const version = Number(replies[i]);
      one.shared = version === 0 ? undefined : version;
      one.keptUntil = 0;
      return [one.id, version] as const;
    });
  }
}

// A version never goes back: an answer that was overtaken by a message must not undo it.
function learn(counter: Counter, version: number): void {
  if (Number.isFinite(version)) counter.shared = Math.max(counter.shared ?? 0, version);
}
