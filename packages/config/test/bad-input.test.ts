import { execFileSync } from 'node:child_process';
import { mkdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { eventually } from '@xiaoke/core/testing';
import { failure, useManagers } from './support.ts';

const { make, folder, file } = useManagers();

const sockets: Server[] = [];

afterEach(() => {
  for (const server of sockets.splice(0)) server.close();
  expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
});

interface Bad {
  readonly name: string;
  readonly file: string;
  readonly text: string | Uint8Array;
  /** The line the error must name; what is wrong with the whole is said of its first. */
  readonly line?: number;
}

const DEEP = 10_000;
const bomb = [
  'a: &a [x,x,x,x,x,x,x,x,x]',
  ...'bcdefghij'.split('').map((key, index) => {
    const below = 'abcdefghi'.charAt(index);
    return `${key}: &${key} [${Array.from({ length: 9 }, () => `*${below}`).join(',')}]`;
  }),
].join('\n');

const BAD: readonly Bad[] = [
  { name: '__proto__ in JSON', file: 'a.json', text: '{\n"a": 1,\n"__proto__": {"polluted": 1}\n}', line: 3 },
  {
    name: 'constructor.prototype in JSON',
    file: 'a.json',
    text: '{"constructor":\n{"prototype":{"polluted":1}}}',
    line: 1,
  },
  { name: '__proto__ in YAML', file: 'a.yaml', text: 'a: 1\n__proto__:\n  polluted: 1\n', line: 3 },
  {
    name: '__proto__ in a YAML merge',
    file: 'a.yaml',
    text: 'x: &x { __proto__: { polluted: 1 } }\na:\n  <<: *x\n',
    line: 1,
  },
  { name: '__proto__ in a TOML table', file: 'a.toml', text: 'a = 1\n[__proto__]\npolluted = 1\n', line: 2 },
  {
    name: '__proto__ in a dotted TOML key',
    file: 'a.toml',
    text: 'a = 1\nx.__proto__.polluted = 1\n',
    line: 2,
  },
  { name: '__proto__ in a .env file', file: '.env', text: 'A=1\n__proto__=1\n', line: 2 },
  { name: 'constructor in a .env path', file: '.env', text: 'A__constructor__prototype=1\n', line: 1 },
  { name: 'a YAML alias bomb', file: 'a.yaml', text: bomb, line: 2 },
  { name: 'a YAML merge bomb', file: 'a.yaml', text: bomb.replaceAll('[', '[{<<: {k: 1}},'), line: 2 },
  {
    name: 'JSON nested too deep',
    file: 'a.json',
    text: '{"a":'.repeat(DEEP) + '1' + '}'.repeat(DEEP),
    line: 1,
  },
  {
    name: 'YAML nested too deep',
    file: 'a.yaml',
    text: `a: ${'['.repeat(DEEP)}${']'.repeat(DEEP)}`,
    line: 1,
  },
  {
    name: 'TOML nested too deep',
    file: 'a.toml',
    text: `a = ${'['.repeat(DEEP)}${']'.repeat(DEEP)}`,
    line: 1,
  },
  { name: 'a cycle of anchors', file: 'a.yaml', text: 'a: &a\n  b: *a\n', line: 2 },
  { name: 'a %YAML 1.1 directive', file: 'a.yaml', text: '%YAML 1.1\n---\na: NO\n' },
  { name: 'a tag that is code', file: 'a.yaml', text: 'a: 1\nb: !!js/function "function () {}"\n', line: 2 },
  { name: 'a tag that is no data', file: 'a.yaml', text: 'a: !!binary aGVsbG8=\n', line: 1 },
  { name: 'a set', file: 'a.yaml', text: 'a: !!set {x, y}\n', line: 1 },
  { name: 'several documents', file: 'a.yaml', text: 'a: 1\n---\nb: 2\n', line: 2 },
  { name: 'a key twice in JSON', file: 'a.json', text: '{"a": 1,\n "a": 2}', line: 2 },
  { name: 'a key twice in YAML', file: 'a.yaml', text: 'a: 1\na: 2\n', line: 2 },
  { name: 'a key twice in TOML', file: 'a.toml', text: 'a = 1\na = 2\n', line: 2 },
  { name: 'a name twice in .env', file: '.env', text: 'A=1\nA=2\n', line: 2 },
  { name: 'tabs in YAML', file: 'a.yaml', text: 'a:\n\tb: 1\n', line: 2 },
  { name: 'a map as a YAML key', file: 'a.yaml', text: '? {a: 1}\n: 2\n', line: 1 },
  { name: 'a NUL', file: 'a.json', text: '{"a": "x\\u0000y"}', line: 1 },
  { name: 'half a surrogate pair', file: 'a.json', text: '{"b":1,\n"a": "\\ud800"}', line: 2 },
  { name: 'half a surrogate pair as a key', file: 'a.json', text: '{"\\udc00":1}', line: 1 },
  { name: 'UTF-16', file: 'a.json', text: Buffer.from('\uFEFF{"a":1}', 'utf16le') },
  { name: 'no bytes at all', file: 'a.json', text: '' },
  { name: 'white space only', file: 'a.yaml', text: ' \n\n' },
  { name: 'comments only, YAML', file: 'a.yaml', text: '# nothing\n' },
  { name: 'comments only, TOML', file: 'a.toml', text: '# nothing\n' },
  { name: 'comments only, .env', file: '.env', text: '# nothing\n' },
  { name: 'a scalar root', file: 'a.json', text: '42' },
  { name: 'a list root', file: 'a.yaml', text: '- a\n- b\n' },
  { name: 'a null root', file: 'a.json', text: 'null' },
  { name: 'two mebibytes', file: 'a.json', text: `{"a":"${'x'.repeat(2_000_000)}"}` },
  { name: 'not a number, YAML', file: 'a.yaml', text: 'a: 1\nb: .nan\n', line: 2 },
  { name: 'infinity, TOML', file: 'a.toml', text: 'a = inf\n', line: 1 },
  { name: 'an integer over 2^53, JSON', file: 'a.json', text: '{"a": 9007199254740993}', line: 1 },
  { name: 'an integer over 2^53, YAML', file: 'a.yaml', text: 'a: 9007199254740993\n', line: 1 },
  { name: 'an integer over 2^53, TOML', file: 'a.toml', text: 'a = 9007199254740993\n', line: 1 },
  { name: 'an open string, JSON', file: 'a.json', text: '{\n "a": "hunter2\n}', line: 2 },
  { name: 'half a document, JSON', file: 'a.json', text: '{"a": {"b": 1', line: 1 },
  { name: 'text after the end, JSON', file: 'a.json', text: '{"a": 1}\nhunter2', line: 2 },
  { name: 'a line that is no assignment, TOML', file: 'a.toml', text: 'a = 1\nhunter2 hunter2\n', line: 2 },
  { name: 'a line that is no assignment, .env', file: '.env', text: 'A=1\nhunter2 hunter2\n', line: 2 },
  { name: 'an open quote, .env', file: '.env', text: 'A=1\nB="hunter2\n', line: 2 },
];

describe('a document that is refused, with source and line and without its text:', () => {
  for (const { name, file: fileName, text, line } of BAD) {
    it(name, async () => {
      const path = await file(fileName, '');
      await writeFile(path, text);
      const config = await make({ defaults: { kept: true } });
      const start = performance.now();
      const error = await failure(config.addFileSource(path));
      // A hang would be for ever; this leaves room for a machine that does other things.
      expect(performance.now() - start).toBeLessThan(5_000);
      expect(error).toMatchObject({ code: 'CONFIG_PARSE', source: path });
      expect([name, error['line']]).toEqual([name, line ?? 1]);
      expect(`${error.stack} ${JSON.stringify(error)}`).not.toContain('hunter2');
      expect(config.snapshot()).toEqual({ kept: true });
    });
  }
});

describe('a document that is read as it is meant:', () => {
  const cases: [string, string, string, unknown][] = [
    ['a byte order mark', 'a.json', '\uFEFF{"a":1}', { a: 1 }],
    ['CRLF', 'a.yaml', 'a: 1\r\nb: x\r\n', { a: 1, b: 'x' }],
    [
      'words that YAML 1.1 changes',
      'a.yaml',
      'a: NO\nb: on\nc: 12:30:45\nd: 2024-01-01\ne: "012"\n',
      { a: 'NO', b: 'on', c: '12:30:45', d: '2024-01-01', e: '012' },
    ],
    ['a %YAML 1.2 directive', 'a.yaml', '%YAML 1.2\n---\na: NO\n', { a: 'NO' }],
    [
      'merge keys and anchors used often',
      'a.yaml',
      `x: &x {k: 1}\nlist: [${Array.from({ length: 200 }, () => '*x').join(',')}]\ny:\n  <<: *x\n  z: 2\n`,
      { x: { k: 1 }, list: Array.from({ length: 200 }, () => ({ k: 1 })), y: { k: 1, z: 2 } },
    ],
    ['TOML dates', 'a.toml', 'a = 2024-01-01T00:00:00Z\n', { a: '2024-01-01T00:00:00.000Z' }],
    [
      'keys of every kind',
      'a.json',
      '{"a.b":{"":1,"0":2,"toString":3}}',
      { 'a.b': { '': 1, '0': 2, toString: 3 } },
    ],
    ['an empty mapping', 'a.json', '{}', {}],
    [
      '.env with quotes, comments and lines',
      '.env',
      'export A=1 # one\nB=\'${A} $2b$10$x\'\nC="x\\ny"\nD=`"`\nE=\nF="two\nlines"\n',
      { A: '1', B: '${A} $2b$10$x', C: 'x\ny', D: '"', F: 'two\nlines' },
    ],
  ];
  for (const [name, fileName, text, expected] of cases) {
    it(name, async () => {
      const config = await make();
      await config.addFileSource(await file(fileName, text));
      expect(config.snapshot()).toEqual(expected);
    });
  }

  it('keys with dots and inherited names are found, and nothing inherited is', async () => {
    const config = await make();
    await config.addFileSource(await file('a.json', '{"a.b":{"c":1},"list":[{"d":2}]}'));
    expect(config.get(String.raw`a\.b.c`)).toBe(1);
    expect([config.get('list[0].d'), config.get('list.0.d')]).toEqual([2, 2]);
    for (const path of ['toString', 'list.length', 'a.toString', 'list.map', 'hasOwnProperty']) {
      expect([path, config.get(path), config.has(path)]).toEqual([path, undefined, false]);
    }
    expect(() => config.get('__proto__.x')).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }));
  });
});

describe('in the place of the file', () => {
  const stands = async (replace: (path: string) => Promise<unknown>): Promise<void> => {
    const path = await file('app.json', '{"a":1}');
    const config = await make({ safetyPoll: 200 });
    await config.addFileSource(path);
    await rm(path);
    await replace(path);
    await eventually(() => config.stats().state === 'degraded');
    expect(config.get('a')).toBe(1);
    expect(config.stats().rejected).toBe(1);
    await rm(path, { recursive: true, force: true });
    await writeFile(path, '{"a":2}');
    await eventually(() => config.get('a') === 2 && config.stats().state === 'ready');
  };

  it('nothing leaves the last good values in force', () => stands(async () => {}));
  it('an empty file leaves the last good values in force', () => stands((path) => writeFile(path, '')));
  it('a folder leaves the last good values in force', () => stands((path) => mkdir(path)));
  it('a dangling link leaves the last good values in force', () =>
    stands((path) => symlink('nowhere', path)));
  it('a link to itself leaves the last good values in force', () => stands((path) => symlink(path, path)));
  it('a pipe leaves the last good values in force', () =>
    stands(async (path) => void execFileSync('mkfifo', [path])));
  it('a device leaves the last good values in force', () => stands((path) => symlink('/dev/zero', path)));
  it('a socket leaves the last good values in force', () =>
    stands(async (path) => {
      const server = createServer();
      sockets.push(server);
      await new Promise<void>((resolve) => server.listen(path, resolve));
    }));
  it('a document cut in half leaves the last good values in force', () =>
    stands((path) => writeFile(path, '{"a":')));

  it('of an overlay, nothing takes its values away, and an overlay may come later', async () => {
    const base = await folder();
    const path = join(base, 'app.yaml');
    await writeFile(path, 'a: 1\nb: 1\n');
    await writeFile(join(base, 'app.local.yaml'), 'a: 2\n');
    const config = await make();
    await config.addFileSource(path);
    expect(config.snapshot()).toEqual({ a: 2, b: 1 });
    await rm(join(base, 'app.local.yaml'));
    await eventually(() => config.get('a') === 1);
    await writeFile(join(base, 'app.test.yaml.tmp'), 'b: 3\n');
    await rename(join(base, 'app.test.yaml.tmp'), join(base, 'app.test.yaml'));
    await eventually(() => config.get('b') === 3);
    expect(config.stats().state).toBe('ready');
  });
});
