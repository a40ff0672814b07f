import { execFile } from 'node:child_process';
import { chmod, mkdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { getConfigManager, MemoryConfigStore, ShadowedError } from '@xiaoke/config';
import { sleep } from '@xiaoke/core';
import { eventually } from '@xiaoke/core/testing';
import { chaosProxy, spawnNode, startRedis } from '@xiaoke/test-servers';
import { failure, useManagers } from './support.ts';

const { make, file, folder } = useManagers();

describe('a file', () => {
  it('that is touched, whose rights change or that is saved as it was, is no change', async () => {
    const path = await file('app.yaml', 'a: 1\n');
    const config = await make({ safetyPoll: 100 });
    await config.addFileSource(path);
    const told: unknown[] = [];
    config.addChangeCallback((change) => told.push(change));
    await utimes(path, new Date(), new Date());
    await sleep(120);
    await chmod(path, 0o600);
    await sleep(120);
    await writeFile(path, 'a: 1\n');
    await sleep(120);
    // Another text of the same values is no change either.
    await writeFile(path, '# the same\na: 1\n');
    await sleep(300);
    expect([told, config.stats().rejected]).toEqual([[], 0]);
    await writeFile(path, 'a: 2\n');
    await eventually(() => told.length === 1);
  });

  it('that is not watched is read again by reload alone', async () => {
    const path = await file('app.json', '{"a":1}');
    const config = await make({ safetyPoll: 100 });
    await config.addFileSource(path, 'json', { watch: false });
    await writeFile(path, '{"a":2}');
    await sleep(400);
    expect(config.get('a')).toBe(1);
    await config.reload();
    expect(config.get('a')).toBe(2);
    await writeFile(path, '{"a":');
    expect(await failure(config.reload())).toMatchObject({ code: 'CONFIG_PARSE', source: path, line: 1 });
    expect(config.get('a')).toBe(2);
  });
});

describe('a rollback', () => {
  it('to what today is not valid is refused and changes nothing', async () => {
    const store = new MemoryConfigStore();
    const lax = await make({ store });
    await lax.set('port', 'eighty');
    await lax.set('port', 80);
    const strict = await make({ store, schema: z.object({ port: z.number() }) });
    expect(await failure(strict.rollback(1))).toMatchObject({ code: 'CONFIG_INVALID' });
    expect([strict.get('port'), strict.version, lax.version]).toEqual([80, 2, 2]);
    expect(strict.stats().state).toBe('ready');
  });

  it('at the same time as a commit leaves both in the history, in one order, and never a mixture', async () => {
    await using redis = await startRedis();
    const [one, two] = [await make({ redis: redis.url }), await make({ redis: redis.url })];
    await one.setMany({ a: 1, b: 1 });
    await one.setMany({ a: 2, b: 2 });
    await Promise.all([one.rollback(1), two.set('c', 3)]);
    await eventually(() => one.version === 4 && two.version === 4);
    expect(one.snapshot()).toEqual(two.snapshot());
    const kinds = (await one.history()).map(({ kind }) => kind);
    expect(kinds.slice(2)).toEqual(['set', 'set']);
    expect(kinds.slice(0, 2).sort()).toEqual(['rollback', 'set']);
    // Whichever came last: the rollback took c away, or c came on top of it.
    expect(one.snapshot()).toEqual(kinds[0] === 'rollback' ? { a: 1, b: 1 } : { a: 1, b: 1, c: 3 });
  });
});

describe('a process', () => {
  it('that was stopped for a while catches up at once when it goes on', { timeout: 60_000 }, async () => {
    await using redis = await startRedis();
    const config = await make({ redis: redis.url, namespace: 'fleet' });
    await config.set('a', 1);
    await using member = spawnNode(new URL('./fixtures/fleet-member.ts', import.meta.url), {
      args: [redis.url, '1'],
    });
    await member.message(({ kind }) => kind === 'ready', 30_000);
    process.kill(member.pid, 'SIGSTOP');
    for (let value = 2; value <= 400; value += 1) await config.set('a', value);
    await sleep(3_000);
    process.kill(member.pid, 'SIGCONT');
    await eventually(
      async () => {
        const before = member.messages.length;
        member.send({ kind: 'report' });
        await eventually(() => member.messages.length > before);
        expect(member.messages.at(-1)).toMatchObject({ version: 400, snapshot: '{"a":400}', lost: [] });
      },
      { timeout: 20_000 },
    );
  });

  it(
    'starts from the copy on disk when Redis is away, and agrees with it when it is back',
    {
      timeout: 60_000,
    },
    async () => {
      await using redis = await startRedis();
      await using proxy = await chaosProxy({ target: redis });
      const cacheFile = join(await folder(), 'deep', 'last-good.json');
      const options = { redis: proxy.url('redis'), storeTimeout: 500, cacheFile };
      const first = await make(options);
      await first.setMany({ a: 1, 'db.password': 'x' });
      await first.close();
      proxy.cut();
      proxy.resetAll();
      const second = await make(options);
      expect([second.get('a'), second.version, second.stats().state]).toEqual([1, 1, 'stale']);
      expect(await second.healthIndicator().check({ signal: new AbortController().signal })).toEqual({
        status: 'degraded',
        code: 'CONFIG_STORE_UNAVAILABLE',
      });
      const other = await make({ redis: redis.url });
      await other.set('a', 2);
      await proxy.heal();
      await eventually(() => second.get('a') === 2 && second.stats().state === 'ready', { timeout: 20_000 });
      await second.close();
      // A copy that is torn, or somebody else's, is none.
      const text = await readFile(cacheFile, 'utf8');
      proxy.cut();
      proxy.resetAll();
      for (const broken of [text.slice(0, -9), text.replace('values', 'valuez'), '', '{}']) {
        await writeFile(cacheFile, broken);
        expect(await failure(make(options))).toMatchObject({ code: 'CONFIG_STORE_UNAVAILABLE' });
      }
      await writeFile(cacheFile, text);
      expect(await failure(make({ ...options, namespace: 'other' }))).toMatchObject({
        code: 'CONFIG_STORE_UNAVAILABLE',
      });
      await rm(cacheFile);
      const bare = await make({ ...options, requireStore: false, defaults: { a: 0 } });
      expect([bare.get('a'), bare.stats().state]).toEqual([0, 'stale']);
    },
  );

  it('has one manager for each Redis, and a new one once that is closed', async () => {
    await using redis = await startRedis();
    const [one, again, memory] = await Promise.all([
      getConfigManager(redis.url),
      getConfigManager(redis.url),
      getConfigManager(),
    ]);
    expect([one === again, (memory as unknown) === one]).toEqual([true, false]);
    await one.set('a', 1);
    await one.close();
    const next = await getConfigManager(redis.url);
    expect([next === one, next.get('a'), memory.get('a')]).toEqual([false, 1, undefined]);
    await Promise.all([next.close(), memory.close()]);
  });
});

describe('what is read', () => {
  it('has the shapes that are promised', async () => {
    const config = await make({
      defaults: { server: { port: 3000, hosts: ['a'] }, nothing: null },
      env: { map: { PORT: 'pinned.port' }, variables: { PORT: '1' } },
    });
    await config.addFileSource(await file('app.yaml', 'server:\n  port: 8080\n'));
    expect([
      config.get('server.port'),
      config.get('a.b', 7),
      config.get('a.b'),
      config.get('nothing', 7),
    ]).toEqual([8080, 7, undefined, null]);
    // Also when they are asked for again.
    expect([config.get('a.b', 8), config.get('nothing', 8), config.has('nothing')]).toEqual([8, null, true]);
    expect(config.require('server.hosts')).toEqual(['a']);
    expect(() => config.require('a.b')).toThrow(
      expect.objectContaining({ code: 'CONFIG_KEY_MISSING', details: { path: 'a.b' } }),
    );
    const [ref, snapshot] = [config.ref('server.port'), config.snapshot() as { server: { hosts: string[] } }];
    expect(() => snapshot.server.hosts.push('b')).toThrow(TypeError);
    expect(() => Object.assign(snapshot, { x: 1 })).toThrow(TypeError);
    expect(config.snapshot()).toBe(snapshot);
    await config.set('server.port', 9);
    expect([ref.value, config.version, snapshot]).toMatchObject([9, 1, { server: { port: 8080 } }]);
    expect(config.explain('server.port')).toMatchObject({
      path: 'server.port',
      found: true,
      value: 9,
      type: 'number',
      secret: false,
      version: 1,
      winner: { layer: 'runtime', source: 'memory' },
      shadowed: [
        { layer: 'base', value: 8080, line: 2 },
        { layer: 'defaults', value: 3000 },
      ],
    });
    const pinned = await failure(config.set('pinned.port', 2));
    expect(pinned).toBeInstanceOf(ShadowedError);
    expect(pinned).toMatchObject({ details: { path: 'pinned.port', by: 'environment variable PORT' } });
    expect(config.stats()).toMatchObject({ state: 'ready', version: 1, commits: 1, subscribers: 0 });
    await using _ = config;
  });

  it('has typed paths, also of a thousand values', { timeout: 120_000 }, async () => {
    const place = fileURLToPath(new URL(`./.types-${process.pid}/`, import.meta.url));
    await mkdir(place, { recursive: true });
    try {
      const leaf = (index: number): string =>
        `s${index}: { a: string; b: number; c?: boolean; d: { e: string[] } }`;
      const type = `export type Big = { ${Array.from({ length: 250 }, (_, index) => leaf(index)).join('; ')} };`;
      const use = [
        `import type { ConfigManager } from '@xiaoke/config';`,
        type,
        'declare const config: ConfigManager<Big>;',
        `export const a: string = config.get('s7.a');`,
        `export const c: boolean | 'none' = config.get('s249.c', 'none');`,
        `export const d: string | undefined = config.get('s3.d.e.0');`,
        `export const r: number = config.ref('s1.b').value;`,
      ];
      await writeFile(join(place, 'good.ts'), use.join('\n'));
      await writeFile(join(place, 'path.ts'), [...use, `config.get('s7.x');`].join('\n'));
      await writeFile(
        join(place, 'type.ts'),
        [...use, `export const n: number = config.get('s7.a');`].join('\n'),
      );
      const check = async (name: string): Promise<string> => {
        const flags = [
          '--noEmit',
          '--pretty',
          'false',
          '--ignoreConfig',
          '--strict',
          '--exactOptionalPropertyTypes',
          '--skipLibCheck',
        ];
        const modules = ['--module', 'nodenext', '--target', 'es2022', '--lib', 'es2023,esnext.disposable'];
        const conditions = [
          '--customConditions',
          '@xiaoke/source',
          '--allowImportingTsExtensions',
          '--types',
          'node',
        ];
        const tsc = fileURLToPath(new URL('../../../node_modules/typescript/bin/tsc', import.meta.url));
        try {
          await promisify(execFile)(process.execPath, [
            tsc,
            ...flags,
            ...modules,
            ...conditions,
            join(place, name),
          ]);
          return '';
        } catch (error) {
          return String((error as { stdout?: unknown }).stdout);
        }
      };
      expect(await check('good.ts')).toBe('');
      expect(await check('path.ts')).toMatch(/^.*path\.ts\(8,12\): error TS2345/);
      expect(await check('type.ts')).toMatch(/^.*type\.ts\(8,14\): error TS2322/);
    } finally {
      await rm(place, { recursive: true });
    }
  });
});
