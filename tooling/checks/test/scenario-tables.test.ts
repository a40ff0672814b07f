import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';

// A package may say in test/README.md which of its tests shows what. Such a table is true as long as the tests it names exist.
const packages = join(import.meta.dirname, '../../../packages');
const tables = readdirSync(packages)
  .map((name) => ({ name, folder: join(packages, name), table: join(packages, name, 'test/README.md') }))
  .filter(({ table }) => existsSync(table));

/** The lines `| scenario | file | title contains |` of a table. */
function rowsOf(table: string): { scenario: string; file: string; title: string }[] {
  return readFileSync(table, 'utf8')
    .split('\n')
    .map((line) => line.split('|').map((cell) => cell.trim()))
    .filter((cells) => cells.length === 5 && /^`[\w./-]+`$/.test(cells[2] ?? ''))
    .map(([, scenario = '', file = '', title = '']) => ({ scenario, file: file.replaceAll('`', ''), title }));
}

/** The sources of the tests that `file` stands for; `conformance` is the suite that the package publishes for backends. */
function sourcesOf(folder: string, file: string): string {
  const suite = file === 'conformance';
  const root = join(folder, suite ? 'src/testing' : 'test');
  return readdirSync(root, { recursive: true })
    .map(String)
    .filter((name) => (suite ? name.endsWith('.ts') : name.includes(file) && name.endsWith('.test.ts')))
    .map((name) => readFileSync(join(root, name), 'utf8'))
    .join('\n');
}

test('there are tables, and none is empty', () => {
  expect(tables.map(({ name }) => name)).toEqual(expect.arrayContaining(['cache', 'queue']));
  for (const { table } of tables) expect(rowsOf(table).length).toBeGreaterThan(20);
});

describe.each(tables)('of the scenarios of $name', ({ folder, table }) => {
  test.each(rowsOf(table))('$scenario: $file has a test "$title"', ({ file, title }) => {
    expect(sourcesOf(folder, file)).toContain(title);
  });
});
