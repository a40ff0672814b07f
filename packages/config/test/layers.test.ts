import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import type { ConfigManager } from '@xiaoke/config';
import { eventually } from '@xiaoke/core/testing';
import { failure, useManagers } from './support.ts';

const { make, folder, file } = useManagers();

async function remote(body: string): Promise<{ url: string; close: () => void }> {
  const server = createServer((_request, response) => response.end(body));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const close = (): void => {
    server.closeAllConnections();
    server.close();
  };
  return { url: `http://127.0.0.1:${port}/`, close };
}

describe('layers', () => {
  it('win in the order of precedence, and explain agrees at each step with what is in force', async () => {
    const base = await folder();
    const put = async (name: string, text: string): Promise<string> => {
      await writeFile(join(base, name), text);
      return join(base, name);
    };
    const server = await remote('{"v":"remote"}');
    const all: Record<string, string> = {};
    const check = (config: ConfigManager, value: string, layer: string): void => {
      expect(config.get('v')).toBe(value);
      expect(config.explain('v')).toMatchObject({ value, winner: { layer } });
      all[layer] = value;
    };
    const config = await make({ defaults: { v: 'defaults' } });
    check(config, 'defaults', 'defaults');
    await config.addFileSource(await put('one.yaml', 'v: one\n'));
    check(config, 'one', 'base');
    await config.addFileSource(await put('two.json', '{"v":"two"}'));
    check(config, 'two', 'base');
    await put('two.test.json', '{"v":"overlay"}');
    await eventually(() => config.get('v') === 'overlay');
    check(config, 'overlay', 'overlay');
    await put('one.local.yaml', 'v: local\n');
    await eventually(() => config.get('v') === 'local');
    check(config, 'local', 'local');
    await config.addFileSource(await put('.env', 'v=dotenv\n'));
    check(config, 'dotenv', 'dotenv');
    await config.addSource({ name: 'custom', load: async () => ({ v: 'source' }) });
    check(config, 'source', 'source');
    await config.setRemoteSource(server.url, { format: 'json' });
    check(config, 'remote', 'remote');
    await config.set('v', 'runtime');
    check(config, 'runtime', 'runtime');
    expect(config.explain('v').shadowed.map(({ value }) => value)).toEqual([
      'remote',
      'source',
      'dotenv',
      'local',
      'overlay',
      'two',
      'one',
      'defaults',
    ]);
    await config.unset('v');
    expect(config.get('v')).toBe('remote');
    server.close();
    const pinned = await make({
      defaults: { v: 1 },
      env: { map: { V: 'v' }, variables: { V: 'environment' } },
    });
    check(pinned, 'environment', 'environment');
  });

  it('are explained with file and line in every format, with the text as written and the variables in it', async () => {
    const variables = { PORT: '8080' };
    const schema = z.looseObject({ port: z.number().optional() });
    const config = await make({ schema, env: { variables } });
    const yaml = await file('a.yaml', 'one: 1\nport: ${PORT:-1}\nlist:\n  - x\n  - y\n');
    const json = await file('b.json', '{\n  "deep": {\n    "a": 1\n  }\n}');
    const toml = await file('c.toml', 'top = 1\n[table]\nkey = 2\n[[items]]\nid = 1\n[[items]]\nid = 2\n');
    for (const path of [yaml, json, toml]) await config.addFileSource(path);
    expect(config.explain('port')).toMatchObject({
      value: 8080,
      type: 'number',
      raw: '${PORT:-1}',
      variables: ['PORT'],
      coercedTo: 'number',
      winner: { file: yaml, line: 2 },
    });
    expect(config.explain('list.1').winner).toMatchObject({ file: yaml, line: 5 });
    expect(config.explain('deep.a').winner).toMatchObject({ file: json, line: 3, column: 5 });
    expect(config.explain('table.key').winner).toMatchObject({ file: toml, line: 3 });
    expect(config.explain('items.1.id').winner).toMatchObject({ file: toml, line: 7 });
    expect(config.explain('nothing')).toMatchObject({ found: false, type: 'undefined', shadowed: [] });
  });

  it('that do not fit each other are refused, and both are named', async () => {
    const config = await make({ defaults: { a: { b: 1 } } });
    const path = await file('a.json', '{"a":5}');
    const error = await failure(config.addFileSource(path));
    expect(error).toMatchObject({
      code: 'CONFIG_INVALID',
      issues: [{ kind: 'clash', path: 'a', source: path }],
    });
    expect(error.message).toContain('defaults and');
    await config.addFileSource(await file('b.json', '{"a":null}'));
    expect(config.get('a', 'fallback')).toBeNull();
  });

  it('replace lists, unless their path says otherwise', async () => {
    const lists = { one: [1], two: [1], three: [1], four: [1, 2] };
    const config = await make({
      defaults: lists,
      merge: { two: 'append', three: 'prepend', four: 'unique' },
    });
    await config.addFileSource(await file('a.json', '{"one":[2],"two":[2],"three":[2],"four":[2,3]}'));
    expect(config.snapshot()).toEqual({ one: [2], two: [1, 2], three: [2, 1], four: [1, 2, 3] });
  });

  it('of a custom source follow it, and one that fails keeps its last values', async () => {
    let [value, changed]: [unknown, () => void] = [{ a: 1 }, () => {}];
    let stopped = 0;
    const config = await make();
    await config.addSource({
      name: 'table',
      load: async () => {
        if (value instanceof Error) throw value;
        return value as Record<string, unknown>;
      },
      watch: (onChange) => {
        changed = onChange;
        return () => void (stopped += 1);
      },
    });
    const next = (to: unknown): void => {
      value = to;
      changed();
    };
    next({ a: 2 });
    await eventually(() => config.get('a') === 2);
    next(new Error('password hunter2 refused'));
    await eventually(() => config.stats().state === 'degraded');
    next({ a: new Map() });
    await eventually(() => config.stats().rejected === 2);
    expect([config.get('a'), JSON.stringify(config.stats())]).toEqual([
      2,
      expect.not.stringContaining('hunter2'),
    ]);
    next({ a: 3 });
    await eventually(() => config.get('a') === 3 && config.stats().state === 'ready');
    await config.close();
    expect(stopped).toBe(1);
    const other = await make();
    expect(await failure(other.addSource({ name: 'x' } as never))).toMatchObject({ code: 'INVALID_OPTION' });
  });
});

describe('an update that is not valid', () => {
  const schema = z.object({ port: z.number(), host: z.string().default('localhost') });

  it('leaves everything as it was, is told once, and is over when the file is right again', async () => {
    const path = await file('app.yaml', 'port: 1\n');
    const config = await make({ schema });
    await config.addFileSource(path);
    const rejected: string[] = [];
    config.on('rejected', ({ code, message }) => rejected.push(`${code} ${message}`));
    const errors: unknown[] = [];
    config.on('error', (error) => errors.push(error));
    const before = config.snapshot();
    await writeFile(path, 'port: eighty\n');
    await eventually(() => config.stats().state === 'degraded');
    expect(config.snapshot()).toBe(before);
    expect(rejected).toEqual([expect.stringMatching(/^CONFIG_INVALID [^]*port: .*app\.yaml:1/)]);
    expect(errors).toEqual([expect.objectContaining({ code: 'CONFIG_INVALID' })]);
    expect(await config.healthIndicator().check({ signal: new AbortController().signal })).toEqual({
      status: 'degraded',
      code: 'CONFIG_INVALID',
    });
    // Another source and a commit go on meanwhile.
    await config.set('host', 'h');
    expect(config.get('host')).toBe('h');
    await writeFile(path, 'port: 2\n');
    await eventually(() => config.get('port') === 2);
    expect(config.stats()).toMatchObject({ state: 'ready', rejected: 1 });
    expect(await config.healthIndicator().check({ signal: new AbortController().signal })).toEqual({
      status: 'healthy',
    });
    // A reload stands in the history without a version of its own; the first load is none.
    expect((await config.history()).map(({ kind, version }) => [kind, version])).toEqual([
      ['reload', undefined],
      ['set', 1],
    ]);
  });

  it('in one file becomes valid when another file brings what was wrong', async () => {
    const strict = z.object({ min: z.number(), max: z.number() }).refine(({ min, max }) => min <= max);
    const [one, two] = [await file('one.json', '{"min":1}'), await file('two.json', '{"max":5}')];
    const config = await make({ schema: strict });
    await config.addFileSource(one);
    expect(config.stats().state).toBe('starting');
    await config.addFileSource(two);
    expect(config.stats().state).toBe('ready');
    await writeFile(one, '{"min":9}');
    await eventually(() => config.stats().state === 'degraded');
    await writeFile(two, '{"max":10}');
    await eventually(() => config.get('min') === 9 && config.get('max') === 10);
    expect(config.stats().state).toBe('ready');
  });

  it('at the start is reported whole, and nothing is left behind', async () => {
    const error = await failure(make({ schema, defaults: { port: 'x', host: 7 } }));
    expect((error['issues'] as { path: string }[]).map(({ path }) => path)).toEqual(['port', 'host']);
    const waiting = await make({ schema });
    expect(await failure(waiting.reload())).toMatchObject({ issues: [{ path: 'port' }] });
    expect(await failure(waiting.addFileSource(await file('a.json', '{"port":"x"}')))).toMatchObject({
      code: 'CONFIG_INVALID',
    });
    expect(waiting.stats().sources.map(({ name }) => name)).toEqual(['defaults', 'memory']);
  });

  it('is what a guard says it is, and a guard has limited time', async () => {
    const config = await make({ defaults: { a: 1, b: 1 }, guardTimeout: 50 });
    const asked: unknown[] = [];
    const remove = config.guard('a', (next, previous, { path }) => {
      asked.push([next, previous, path]);
      if (next === 2) throw new Error('two is too many');
      return next !== 3;
    });
    config.guard('b', () => new Promise(() => {}));
    expect(await failure(config.set('a', 2))).toMatchObject({
      code: 'CONFIG_VETOED',
      message: expect.stringContaining('two is too many'),
    });
    expect(await failure(config.set('a', 3))).toMatchObject({ code: 'CONFIG_VETOED' });
    expect(await failure(config.set('b', 2))).toMatchObject({
      code: 'CONFIG_VETOED',
      message: expect.stringContaining('50 ms'),
    });
    expect(await config.set('a', 4)).toBe(1);
    expect(asked).toEqual([
      [2, 1, 'a'],
      [3, 1, 'a'],
      [4, 1, 'a'],
    ]);
    remove();
    await config.set('a', 2);
  });

  it('is one that its schema cannot judge: it throws, hangs, or gives no object', async () => {
    const schemaOf = (validate: (value: unknown) => unknown): never =>
      ({ '~standard': { version: 1, vendor: 'test', validate } }) as never;
    const cases: [(value: unknown) => unknown, string][] = [
      [
        () => {
          throw new TypeError('hunter2');
        },
        'the schema threw TypeError',
      ],
      [() => new Promise(() => {}), 'within 40 ms'],
      [() => Promise.reject(new Error('hunter2')), 'the schema threw Error'],
      [() => ({ value: 5 }), 'must give an object'],
    ];
    for (const [validate, message] of cases) {
      const error = await failure(make({ schema: schemaOf(validate), validationTimeout: 40 }));
      expect(error.message).toContain(message);
      expect(error.stack).not.toContain('hunter2');
    }
    const mutating = await make({
      defaults: { a: { b: 1 } },
      schema: schemaOf((value) => {
        (value as { a: { b: number } }).a.b += 1;
        return { value };
      }),
    });
    await mutating.set('x', 1);
    expect(mutating.get('a.b')).toBe(2);
  });
});
