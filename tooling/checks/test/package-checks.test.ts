import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import {
  commentComplaints,
  declarationComplaints,
  loadComplaints,
  manifestComplaints,
  typeComplaints,
} from '../../package-checks.mjs';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'package-checks-'));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function write(path: string, content: string | object): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), typeof content === 'string' ? content : JSON.stringify(content));
}

const published = { types: './dist/index.d.ts', default: './dist/index.js' };
const sound = {
  name: '@xiaoke/lock',
  type: 'module',
  exports: { '.': { '@xiaoke/source': './src/index.ts', ...published } },
  publishConfig: { exports: { '.': published } },
  dependencies: { '@xiaoke/core': 'workspace:^' },
};

/** Lays a package out as in the repository, or under `node_modules/`. */
function addPackage(folder: string, changes: object, files: { types?: string; code?: string } = {}): void {
  write(join(folder, 'package.json'), { ...sound, ...changes });
  write(join(folder, 'src/index.ts'), '');
  write(join(folder, 'dist/index.d.ts'), files.types ?? 'export {};\n');
  write(join(folder, 'dist/index.js'), files.code ?? 'export {};\n');
}

test('a sound package has nothing to complain about', async () => {
  addPackage('node_modules/@xiaoke/lock', {});
  const folder = join(root, 'node_modules/@xiaoke/lock');

  expect(manifestComplaints(folder)).toEqual([]);
  expect(declarationComplaints('@xiaoke/lock', folder)).toEqual([]);
  expect(await loadComplaints(root, ['@xiaoke/lock'])).toEqual([]);
});

test('exports and publishConfig.exports that differ are reported', () => {
  addPackage('lock', { publishConfig: { exports: { '.': published, './redis': published } } });

  expect(manifestComplaints(join(root, 'lock'))).toEqual([expect.stringContaining('publishConfig.exports')]);
});

test('an entry that was not built is reported', () => {
  addPackage('lock', {});
  rmSync(join(root, 'lock/dist/index.js'));

  expect(manifestComplaints(join(root, 'lock'))).toEqual(['@xiaoke/lock: ./dist/index.js does not exist']);
});

test.each(['dependencies', 'devDependencies', 'peerDependencies'])(
  'a sibling among the %s is reported',
  (kind) => {
    addPackage('lock', { [kind]: { '@xiaoke/cache': 'workspace:^' } });

    expect(manifestComplaints(join(root, 'lock'))).toEqual([
      expect.stringContaining('depends on @xiaoke/cache'),
    ]);
  },
);

test('the private test servers as a published dependency are reported', () => {
  addPackage('lock', { dependencies: { '@xiaoke/test-servers': 'workspace:^' } });

  expect(manifestComplaints(join(root, 'lock'))).toEqual([expect.stringContaining('private')]);
});

test.each([
  ['an import', "import type { Redis } from 'ioredis';\nexport declare const x: Redis;\n"],
  ['an inline import', "export declare const x: import('ioredis').Redis;\n"],
  ['a re-export', "export * from 'ioredis';\n"],
  ['a side-effect import', "import 'ioredis';\nexport {};\n"],
])('a third-party type in the declarations is reported: %s', (_how, types) => {
  addPackage('lock', {}, { types });

  const complaints = declarationComplaints('@xiaoke/lock', join(root, 'lock'));
  expect(complaints).toEqual(['@xiaoke/lock: dist/index.d.ts names a type of ioredis']);
});

test('an import in an example of a doc comment is no import', () => {
  addPackage('lock', {}, { types: "/** @example import { Redis } from 'ioredis'; */\nexport {};\n" });

  expect(declarationComplaints('@xiaoke/lock', join(root, 'lock'))).toEqual([]);
});

test('metrics, and only metrics, may name a type of prom-client', () => {
  addPackage('metrics', {}, { types: "export type { Registry } from 'prom-client';\n" });

  expect(declarationComplaints('@xiaoke/metrics', join(root, 'metrics'))).toEqual([]);
  expect(declarationComplaints('@xiaoke/lock', join(root, 'metrics'))).toHaveLength(1);
});

test('a top-level await, however deep, is reported by require() alone', async () => {
  addPackage('node_modules/@xiaoke/lock', {}, { code: "import './deep.js';\n" });
  write('node_modules/@xiaoke/lock/dist/deep.js', 'await Promise.resolve();\n');

  const complaints = await loadComplaints(root, ['@xiaoke/lock']);

  expect(complaints).toEqual([expect.stringContaining('require() fails')]);
});

test('an entry that needs a driver nobody installed is reported', async () => {
  addPackage('node_modules/@xiaoke/lock', {}, { code: "import 'pg';\n" });

  expect(await loadComplaints(root, ['@xiaoke/lock'])).toHaveLength(2);
});

test('a declaration an older TypeScript cannot read is reported', async () => {
  const require = createRequire(import.meta.url);
  const tsc = join(dirname(require.resolve('typescript59/package.json')), 'lib/tsc.js');
  addPackage('node_modules/@xiaoke/lock', {}, { types: 'export declare const x: NoSuchType;\n' });
  const types = dirname(
    createRequire(join(import.meta.dirname, '../../../package.json')).resolve('@types/node/package.json'),
  );
  symlinkSync(dirname(types), join(root, 'node_modules/@types'));

  const complaints = await typeComplaints(root, ['@xiaoke/lock'], { '5.9': tsc });

  expect(complaints).toEqual([expect.stringContaining("Cannot find name 'NoSuchType'")]);
});

test('an export without a doc comment is reported, however it reaches the entry', () => {
  const types =
    "export { known, type Hidden as Shown } from './deep.js';\nexport * from './all.js';\n/** Said. */\nexport type Said = 1;\n";
  addPackage('lock', {}, { types });
  write(
    'lock/dist/deep.d.ts',
    '/** Said. */\nexport declare const known: 1;\nexport interface Hidden {\n}\nexport type Internal = 1;\n',
  );
  write(
    'lock/dist/all.d.ts',
    '/** Said once. */\nexport declare function over(a: 1): void;\nexport declare function over(a: 2): void;\nexport declare class Bare {\n}\n',
  );

  const complaints = commentComplaints(sound, join(root, 'lock'));

  expect(complaints).toEqual(['Hidden', 'Bare'].map((name) => `@xiaoke/lock: no doc comment above ${name}`));
});
