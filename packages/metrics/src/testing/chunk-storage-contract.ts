import { deepStrictEqual as same, ok, strictEqual as equal } from 'node:assert';
import { encodeChunk } from '../store/chunk-codec.ts';
import type { ChunkHandle, ChunkStorage, NewChunk, StoredChunk } from '../store/chunk-storage.ts';

/** One promise of the contract. */
export interface StorageCase {
  readonly name: string;
  /** Rejects when the storage does not keep it. */
  readonly run: () => Promise<void>;
}

/** Where a storage under test comes from. */
export interface StorageUnderTest {
  readonly storage: ChunkStorage;
  /** Opens the same place once more, after the first was closed; without it, nothing is asked of a second life. */
  readonly again?: (() => ChunkStorage) | undefined;
}

const STEP = 10_000;
const DAY = 86_400_000;
const PER_DAY = DAY / STEP;
const SLOTS = 120;

function chunk(start: number, series = 'a', step: number = STEP): NewChunk {
  const column = Array.from({ length: SLOTS }, (_, i) => start + i);
  const payload = encodeChunk({ flags: column.map(() => 1), base: 0, columns: [column] });
  return { labels: { __name__: 'm', series }, kind: 'counter', step, start, slots: SLOTS, payload };
}

const bytes = (payload: Uint8Array | undefined): string | undefined =>
  payload === undefined ? undefined : Buffer.from(payload).toString('hex');

const dropped = (handles: readonly ChunkHandle[]): readonly boolean[] => handles.map((one) => one.dropped);

const CASES: Readonly<Record<string, (under: StorageUnderTest) => Promise<void>>> = {
  'gives back what it acknowledged, in the order that is asked for': async ({ storage }) => {
    same(await storage.open(), []);
    const chunks = [chunk(0), chunk(SLOTS), chunk(0, 'b'), chunk(PER_DAY)];
    const handles = await storage.write(chunks);
    const read = await storage.read([...handles].reverse());
    same(read.map(bytes), chunks.map(({ payload }) => bytes(payload)).reverse());
    ok(storage.bytes >= chunks.reduce((sum, { payload }) => sum + payload.length, 0), 'bytes are counted');
    same(await storage.write([]), []);
    same(await storage.read([]), []);
  },
  'lets go of what ends before a time, of that tier alone': async ({ storage }) => {
    await storage.open();
    const days = [0, 1, 2].flatMap((day) => [chunk(day * PER_DAY), chunk(day * 1_440, 'a', 60_000)]);
    const handles = await storage.write(days);
    await storage.dropBefore(STEP, DAY);
    same(dropped(handles), [true, false, false, false, false, false]);
    same(
      (await storage.read(handles)).map((payload) => payload === undefined),
      dropped(handles),
    );
  },
  'lets go of its oldest until nothing is left': async ({ storage }) => {
    await storage.open();
    const handles = await storage.write([0, 1, 2].map((day) => chunk(day * PER_DAY)));
    const before = storage.bytes;
    equal(await storage.dropOldest(), true);
    ok(storage.bytes < before, 'bytes fall');
    same(dropped(handles), [true, false, false]);
    while (await storage.dropOldest());
    equal(storage.bytes, 0);
    equal(await storage.dropOldest(), false);
    same(dropped(handles), [true, true, true]);
  },
  'has everything again in its next life, heads included, once': async ({ storage, again }) => {
    if (again === undefined) return;
    await storage.open();
    await storage.write([chunk(0), chunk(SLOTS)]);
    await storage.saveHeads([chunk(7 * SLOTS)]);
    // Replaces the heads before; one of them was sealed meanwhile.
    await storage.saveHeads([chunk(0), chunk(2 * SLOTS), chunk(0, 'z', 60_000)]);
    await storage.close();
    for (let life = 0; life < 2; life++) {
      const next: ChunkStorage = again();
      const stored: readonly StoredChunk[] = await next.open();
      const found: string[] = stored.map(
        ({ labels, kind, step, start }) => `${labels['series']} ${kind} ${step} ${start}`,
      );
      const expected = [0, SLOTS, 2 * SLOTS].map((start) => `a counter ${STEP} ${start}`);
      same(found.sort(), [...expected, 'z counter 60000 0'].sort());
      const first = stored.find(({ start, step }) => start === 0 && step === STEP);
      const [payload] = await next.read(first === undefined ? [] : [first.handle]);
      equal(bytes(payload), bytes(chunk(0).payload));
      await next.close();
    }
  },
  'keeps any label, whatever is in it': async ({ storage, again }) => {
    await storage.open();
    const odd = { __name__: 'm', series: 'a "quoted" \\ back\nslash\u0000 ü😀', empty: '' };
    const [handle] = await storage.write([{ ...chunk(0), labels: odd }]);
    equal(handle?.dropped, false);
    await storage.close();
    if (again === undefined) return;
    const next: ChunkStorage = again();
    const [stored]: readonly StoredChunk[] = await next.open();
    equal(stored?.labels['series'], odd.series);
    await next.close();
  },
  'may be closed twice': async ({ storage }) => {
    await storage.open();
    await storage.close();
    await storage.close();
  },
};

/**
 * The cases that a {@link ChunkStorage} must pass.
 *
 * @param make - makes a storage that is empty; called once for each case
 *
 * @example
 * ```ts
 * import { memoryStorage } from '@xiaoke/metrics/store';
 * import { chunkStorageContract } from '@xiaoke/metrics/testing';
 * for (const { name, run } of chunkStorageContract(() => ({ storage: memoryStorage() }))) {
 *   await run();
 *   console.log('kept:', name);
 * }
 * ```
 */
export function chunkStorageContract(
  make: () => StorageUnderTest | Promise<StorageUnderTest>,
): readonly StorageCase[] {
  return Object.entries(CASES).map(([name, check]) => ({
    name,
    run: async () => {
      const under = await make();
      try {
        await check(under);
      } finally {
        await under.storage.close();
      }
    },
  }));
}
