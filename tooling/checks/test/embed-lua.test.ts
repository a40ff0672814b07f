import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { embedLua } from '../../embed-lua.mjs';

const header = '-- KEYS[1] the hash. ARGV[1] the field.\n-- Returns 1. Safe to repeat: it only reads.\n';
const generated = 'packages/lock/src/redis/scripts.generated.ts';
let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'embed-lua-'));
});
afterEach(() => rmSync(root, { recursive: true }));

function write(path: string, text: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), text);
}

async function load(): Promise<Record<string, { name: string; sha1: string; source: string }>> {
  return { ...(await import(join(root, generated))) };
}

test('a script comes back byte for byte, with the digest Redis computes', async () => {
  const source = `${header}return redis.call('HGET', KEYS[1], "a\\n\`\${x}\\\\")\n`;
  write('packages/lock/src/redis/lua/read-field.lua', source);

  expect(embedLua(root, { check: false })).toEqual([generated]);

  const sha1 = createHash('sha1').update(source).digest('hex');
  expect(await load()).toEqual({ readFieldScript: { name: 'read-field', sha1, source } });
});

test('an included fragment stands in the script once, however often it is asked for', async () => {
  write('packages/lock/src/redis/lua/include/now.lua', 'local now = 1\n');
  write('packages/lock/src/redis/lua/include/later.lua', '-- @include now\nlocal later = now + 1\n');
  write('packages/lock/src/redis/lua/a.lua', `${header}-- @include now\n-- @include later\nreturn later\n`);

  embedLua(root, { check: false });

  const { aScript } = await load();
  expect(aScript?.source).toBe(
    `${header}local now = 1\n-- (now is included above)\nlocal later = now + 1\nreturn later\n`,
  );
});

test('a check reports a stale file and writes nothing', () => {
  write('packages/lock/src/redis/lua/a.lua', `${header}return 1\n`);
  embedLua(root, { check: false });
  expect(embedLua(root, { check: true })).toEqual([]);
  const before = readFileSync(join(root, generated), 'utf8');

  write('packages/lock/src/redis/lua/a.lua', `${header}return 2\n`);

  expect(embedLua(root, { check: true })).toEqual([generated]);
  expect(readFileSync(join(root, generated), 'utf8')).toBe(before);
});

test('a generated file whose scripts are gone is stale, and is removed', () => {
  write(generated, 'export {};\n');

  expect(embedLua(root, { check: true })).toEqual([generated]);
  embedLua(root, { check: false });
  expect(embedLua(root, { check: true })).toEqual([]);
});

test('a script whose header does not say why it is safe to repeat is refused', () => {
  write('packages/lock/src/redis/lua/a.lua', '-- KEYS[1], no ARGV. Returns 1.\nreturn 1\n');

  expect(() => embedLua(root, { check: false })).toThrow('missing: repeat');
});

test('an include of a fragment that does not exist is refused', () => {
  write('packages/lock/src/redis/lua/a.lua', `${header}-- @include clock\n`);

  expect(() => embedLua(root, { check: false })).toThrow('@include clock: there is no');
});
