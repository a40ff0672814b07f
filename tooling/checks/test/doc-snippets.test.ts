import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { checkSnippets } from '../../doc-snippets.mjs';

const repository = join(import.meta.dirname, '../../..');
let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'doc-snippets-'));
  mkdirSync(join(root, 'packages/lock'), { recursive: true });
  writeFileSync(join(root, 'packages/lock/package.json'), '{ "name": "@xiaoke/lock", "type": "module" }');
  cpSync(join(repository, 'tsconfig.base.json'), join(root, 'tsconfig.base.json'));
  symlinkSync(join(repository, 'node_modules'), join(root, 'node_modules'));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function check(...lines: string[]): ReturnType<typeof checkSnippets> {
  writeFileSync(join(root, 'packages/lock/README.md'), lines.join('\n'));
  return checkSnippets(root, ['packages/lock/README.md']);
}

test('an example that prints what it says is true', () => {
  const result = check('# x', '```ts run', 'console.log(1 + 1); // => 2', "console.log('a'); // => a", '```');

  expect(result).toEqual({ complaints: [], compiled: 1, ran: 1 });
});

test('an example that prints something else is reported with its place', () => {
  const { complaints } = check('# x', '', '```ts run', 'console.log(1 + 1); // => 3', '```');

  expect(complaints).toEqual(['packages/lock/README.md:3: prints ["2"], but says ["3"]']);
});

test('an example that prints more than it says is reported', () => {
  const { complaints } = check('```ts run', "console.log('a');", '```');

  expect(complaints).toHaveLength(1);
});

test('an example that does not compile is reported with its place', () => {
  const { complaints } = check('# x', '```ts', '', 'const x: number = "a";', '```');

  expect(complaints).toEqual([expect.stringMatching(/^packages\/lock\/README\.md:2\+2: error TS2322/)]);
});

test('an example that imports what the package does not have is reported', () => {
  const { complaints } = check('```ts', "import { nothing } from '@xiaoke/nothing';", 'nothing();', '```');

  expect(complaints).toEqual([expect.stringContaining('TS2307')]);
});

test('an example that throws is reported', () => {
  const { complaints } = check('```ts run', "throw new Error('boom');", '```');

  expect(complaints).toEqual([expect.stringContaining('boom')]);
});

test('a sketch marked skip, and a fence in another language, are left alone', () => {
  const result = check('```ts skip', 'nonsense(', '```', '```sh', 'nonsense(', '```');

  expect(result).toEqual({ complaints: [], compiled: 0, ran: 0 });
});

test('an example in a doc comment is held to the same', () => {
  mkdirSync(join(root, 'packages/lock/src'));
  const lines = [
    '/**',
    ' * Adds.',
    ' *',
    ' * ```ts run',
    ' * console.log(1 + 1);',
    ' * // => 3',
    ' * ```',
    ' */',
    'export const x = 1;',
  ];
  writeFileSync(join(root, 'packages/lock/src/add.ts'), lines.join('\n'));

  const { complaints } = checkSnippets(root, ['packages/lock/src/add.ts']);

  expect(complaints).toEqual(['packages/lock/src/add.ts:4: prints ["2"], but says ["3"]']);
});
