import { open, rename, writeFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { sleep } from '@xiaoke/core';
import { eventually } from '@xiaoke/core/testing';
import { spawnNode } from '@xiaoke/test-servers';
import { useManagers } from './support.ts';

const { make, file } = useManagers();
const FORMATS = ['json', 'yaml', 'toml'] as const;
type Format = (typeof FORMATS)[number];
const SECONDS = Number(
  process.env['XIAOKE_TORN_SECONDS'] ?? (process.env['XIAOKE_CHAOS'] === 'nightly' ? 60 : 6),
);

/** A document in which every line says the same number, so that a mixture of two shows; most of its beginnings parse. */
function render(format: Format, value: number): string {
  const keys = Array.from({ length: 80 }, (_, index) => `key${index}`);
  if (format === 'json') return JSON.stringify(Object.fromEntries(keys.map((key) => [key, value])), null, 2);
  return keys.map((key) => (format === 'yaml' ? `${key}: ${value}\n` : `${key} = ${value}\n`)).join('');
}

/** Fails for anything but one whole document. */
function numberOf(snapshot: Readonly<Record<string, unknown>>): number {
  const values = Object.values(snapshot);
  const [first] = values;
  if (values.length !== 80 || typeof first !== 'number' || values.some((value) => value !== first))
    throw new Error(`half a document: ${values.length} keys, ${[...new Set(values)].join()}`);
  return first;
}

describe('while a file is written in place, in pieces, with pauses, over and over,', () => {
  for (const format of FORMATS) {
    it(
      `every ${format} snapshot is one document as it was written`,
      { timeout: SECONDS * 1_000 + 60_000 },
      async () => {
        const path = await file(`app.${format}`, render(format, 0));
        const config = await make();
        const torn: string[] = [];
        const seen = new Set<number>();
        const check = (snapshot: Readonly<Record<string, unknown>>): void => {
          try {
            seen.add(numberOf(snapshot));
          } catch (error) {
            torn.push(String(error));
          }
        };
        await config.addFileSource(path);
        config.addChangeCallback(({ snapshot, previous }) => {
          check(snapshot);
          check(previous);
        });
        await using writer = spawnNode(new URL('./fixtures/torn-writer.ts', import.meta.url), {
          args: [path, format, String(SECONDS)],
        });
        const look = setInterval(() => check(config.snapshot() as Record<string, unknown>), 1);
        const { last } = await writer.message(({ kind }) => kind === 'done', SECONDS * 1_000 + 30_000);
        await eventually(() => config.get('key79') === last);
        clearInterval(look);
        expect(torn).toEqual([]);
        // The test of the test: documents came through, from the first half of the time and to its end.
        expect(seen.size).toBeGreaterThan(SECONDS / 2);
        expect(config.stats()).toMatchObject({ state: 'ready' });
      },
    );
  }

  it('a reader that does not wait sees halves, so the writer does tear its writes', async () => {
    const path = await file('app.yaml', render('yaml', 0));
    await using writer = spawnNode(new URL('./fixtures/torn-writer.ts', import.meta.url), {
      args: [path, 'yaml', '2'],
    });
    const { readFile } = await import('node:fs/promises');
    const { parse } = await import('yaml');
    let torn = 0;
    while (!writer.messages.some(({ kind }) => kind === 'done')) {
      try {
        numberOf((parse(await readFile(path, 'utf8')) ?? {}) as Record<string, unknown>);
      } catch {
        torn += 1;
      }
      await sleep(2);
    }
    expect(torn).toBeGreaterThan(10);
  });
});

describe('consistency', () => {
  it(
    'holds for readers everywhere, in callbacks and across awaits, through hundreds of reloads',
    {
      timeout: 60_000,
    },
    async () => {
      const path = await file('pair.json', '{"a":0,"b":0}');
      const config = await make();
      await config.addFileSource(path);
      const broken: unknown[] = [];
      config.addChangeCallback(async ({ snapshot }) => {
        if (snapshot['a'] !== snapshot['b'] || config.get('a') !== config.get('b')) broken.push(snapshot);
        const held = config.snapshot() as Record<string, unknown>;
        const before = held['a'];
        await sleep(1);
        if (held['b'] !== before) broken.push(held);
      });
      const [a, b] = [config.ref('a'), config.ref('b')];
      const look = setInterval(() => {
        if (a.value !== b.value) broken.push([a.value, b.value]);
      }, 0);
      const rounds = process.env['XIAOKE_CHAOS'] === 'nightly' ? 10_000 : 400;
      for (let round = 1; round <= rounds; round += 1) {
        await writeFile(`${path}.new`, `{"a":${round},"b":${round}}`);
        await rename(`${path}.new`, path);
        if (round % 20 === 0) await eventually(() => config.get('a') === round);
      }
      clearInterval(look);
      expect(broken).toEqual([]);
      expect(config.get('b')).toBe(rounds);
    },
  );

  it(
    'of a pause of up to 15 ms in the middle of a write in place is kept with the shortest settle allowed',
    {
      timeout: 60_000,
    },
    async () => {
      const path = await file('app.yaml', render('yaml', 0));
      const config = await make({ settle: 30 });
      await config.addFileSource(path);
      const torn: unknown[] = [];
      config.addChangeCallback(({ snapshot }) => {
        try {
          numberOf(snapshot);
        } catch (error) {
          torn.push(String(error));
        }
      });
      for (let round = 1; round <= 60; round += 1) {
        const text = render('yaml', round);
        const handle = await open(path, 'w');
        for (let at = 0; at < text.length; at += 300) {
          await handle.write(text.slice(at, at + 300));
          await sleep(Math.random() * 12);
        }
        await handle.close();
        await eventually(() => config.get('key79') === round);
      }
      expect(torn).toEqual([]);
    },
  );
});
