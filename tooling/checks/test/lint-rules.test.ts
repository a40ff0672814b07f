import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { legal, planted } from './support/planted-code.ts';

// A rule that cannot fail is worse than none. Each rule of the house is broken on purpose in a copy of the layout, under
// the real configuration, and must be reported; code that only looks like a violation must not be.

const repository = join(import.meta.dirname, '../../..');
let root: string;
let reported: Map<string, string[]>;

interface Diagnostic {
  readonly code?: string;
  readonly message: string;
  readonly filename: string;
}

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'lint-rules-'));
  for (const file of ['.oxlintrc.json', 'tsconfig.base.json', 'package.json']) {
    cpSync(join(repository, file), join(root, file));
  }
  symlinkSync(join(repository, 'node_modules'), join(root, 'node_modules'));
  write('tsconfig.json', '{ "extends": "./tsconfig.base.json", "include": ["packages", "apps"] }');
  for (const { files } of [...planted, ...legal]) {
    for (const [path, text] of Object.entries(files)) write(path, text);
  }
  reported = await lint();
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

function write(path: string, text: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), text);
}

async function lint(): Promise<Map<string, string[]>> {
  const stdout = await new Promise<string>((resolve) => {
    const options = { cwd: root, maxBuffer: 64 * 1024 * 1024, timeout: 60_000 };
    // Named folders only: without them the linter follows the node_modules link and reads everything below it.
    const args = ['--format', 'json', 'packages', 'apps'];
    execFile('node_modules/.bin/oxlint', args, options, (_error, out) => resolve(out));
  });
  const { diagnostics } = JSON.parse(stdout) as { diagnostics: Diagnostic[] };
  const byFile = new Map<string, string[]>();
  for (const { code, message, filename } of diagnostics) {
    const rule = /\((.*)\)/.exec(code ?? '')?.[1] ?? message;
    byFile.set(filename, [...(byFile.get(filename) ?? []), rule]);
  }
  return byFile;
}

describe('the linter reports', () => {
  test.each(planted)('$what', ({ rule, files }) => {
    const [first = ''] = Object.keys(files);
    expect(reported.get(first) ?? []).toContainEqual(expect.stringContaining(rule));
  });
});

describe('the linter accepts', () => {
  test.each(legal)('$what', ({ files }) => {
    for (const path of Object.keys(files)) expect(reported.get(path) ?? []).toEqual([]);
  });
});
