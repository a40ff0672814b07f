import { mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { sleep } from '@xiaoke/core';
import { eventually } from '@xiaoke/core/testing';
import { SAVE_STYLES, type SaveStyle } from './save-styles.ts';
import { useManagers } from './support.ts';

const { make, folder } = useManagers();
const ROUNDS = process.env['XIAOKE_CHAOS'] === 'nightly' ? 100 : 4;
const FORMATS = ['json', 'yaml', 'toml'] as const;
type Format = (typeof FORMATS)[number];

// The first and the last value agree in a whole document; in between lies enough for a half to be a document of its own.
function render(format: Format, value: number): string {
  const fill = Array.from({ length: 60 }, (_, index) => [`key${index}`, `text ${index}`] as const);
  if (format === 'json')
    return JSON.stringify({ first: value, ...Object.fromEntries(fill), last: value }, null, 2);
  const separator = format === 'yaml' ? ': ' : ' = ';
  const lines = fill.map(([key, text]) => `${key}${separator}"${text}"`);
  return [`first${separator}${value}`, ...lines, `last${separator}${value}`, ''].join('\n');
}

async function saveMany(style: SaveStyle, format: Format, base: string): Promise<void> {
  const path = await style.prepare(await mkdtemp(join(base, 'case-')), `app.${format}`, render(format, 0));
  const config = await make();
  const seen: { first: unknown; last: unknown }[] = [];
  config.addChangeCallback(({ snapshot }) => seen.push({ first: snapshot['first'], last: snapshot['last'] }));
  await config.addFileSource(path, format, { optional: style.late === true });
  const rounds = style.late === true ? 1 : ROUNDS;
  for (let number = 1; number <= rounds; number += 1) {
    const final = number * 100;
    await style.save(path, render(format, final), {
      number,
      other: (index) => render(format, final - 90 + index),
    });
    await eventually(() => config.get('last') === final);
  }
  // Whatever would come twice comes within the time of a settle.
  await sleep(120);
  for (const { first, last } of seen) expect(first).toBe(last);
  const finals = seen.map(({ last }) => last).filter((value) => Number(value) % 100 === 0 && value !== 0);
  expect(finals).toEqual(Array.from({ length: rounds }, (_, index) => (index + 1) * 100));
  expect(config.stats()).toMatchObject({ state: 'ready', rejected: 0 });
}

describe('a file saved by', () => {
  for (const style of SAVE_STYLES) {
    it(`${style.name} is applied whole and told once`, { timeout: 600_000 }, async () => {
      const base = await folder();
      // A file made late can be made late once only, so there are more of them.
      const copies = style.late === true ? ROUNDS : 1;
      const cases = FORMATS.flatMap((format) => Array.from({ length: copies }, () => format));
      await Promise.all(cases.map((format) => saveMany(style, format, base)));
    });
  }
});
