import { rename, rm, writeFile } from 'node:fs/promises';
import { type } from 'arktype';
import * as v from 'valibot';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { eventually, recordingLogger } from '@xiaoke/core/testing';
import type { StandardSchemaV1 } from '@xiaoke/core';
import { failure, useManagers } from './support.ts';

const { make, file } = useManagers();

const SCHEMAS: Record<string, StandardSchemaV1<unknown, unknown>> = {
  zod: z.object({
    port: z.number(),
    flag: z.boolean(),
    id: z.string(),
    list: z.array(z.number()).optional(),
    deep: z.object({ poolMax: z.int() }).optional(),
  }) as never,
  valibot: v.object({
    port: v.number(),
    flag: v.boolean(),
    id: v.string(),
    list: v.optional(v.array(v.number())),
    deep: v.optional(v.object({ poolMax: v.pipe(v.number(), v.integer()) })),
  }) as never,
  arktype: type({
    port: 'number',
    flag: 'boolean',
    id: 'string',
    'list?': 'number[]',
    'deep?': { poolMax: 'number.integer' },
  }) as never,
};

describe('environment variables', () => {
  for (const [name, schema] of Object.entries(SCHEMAS)) {
    it(`become the types that ${name} wants`, async () => {
      const variables = {
        X_PORT: '8080',
        X_FLAG: 'false',
        X_ID: '012',
        X_LIST: '[1,2]',
        X_DEEP__POOL_MAX: '7',
      };
      const config = await make({
        schema,
        env: { prefix: 'X_', variables },
        defaults: { deep: { poolMax: 1 } },
      });
      expect(config.snapshot()).toEqual({
        port: 8080,
        flag: false,
        id: '012',
        list: [1, 2],
        deep: { poolMax: 7 },
      });
    });

    it(`of the wrong type are refused by ${name}, all at once and without their text`, async () => {
      const variables = { X_PORT: '8080x-hunter2', X_FLAG: 'perhaps-hunter2', X_ID: 'fine' };
      const error = await failure(make({ schema, env: { prefix: 'X_', variables } }));
      expect(error).toMatchObject({ code: 'CONFIG_INVALID' });
      const issues = error['issues'] as { path: string; source: string }[];
      expect(issues.map(({ path }) => path).sort()).toEqual(['flag', 'port']);
      expect(issues.map(({ source }) => source).sort()).toEqual([
        'environment variable X_FLAG',
        'environment variable X_PORT',
      ]);
      expect(`${error.stack} ${JSON.stringify(error)}`).not.toContain('hunter2');
    });
  }

  it('read numbers strictly and booleans generously', async () => {
    const schema = z.object({
      n: z.number().optional(),
      b: z.boolean().optional(),
      u: z.union([z.number(), z.string()]).optional(),
      o: z.object({ x: z.number() }).optional(),
      l: z.array(z.string()).optional(),
    });
    const read = async (variables: Record<string, string>): Promise<unknown> =>
      (await make({ schema, env: { prefix: 'X_', variables } })).snapshot();
    expect(await read({ X_N: '-1.5e3', X_B: 'ON', X_U: '12', X_O: '{"x":1}', X_L: 'a, b' })).toEqual({
      n: -1500,
      b: true,
      u: '12',
      o: { x: 1 },
      l: ['a', 'b'],
    });
    expect(await read({ X_N: '', X_B: ' ' })).toEqual({});
    for (const text of ['0x10', '1_000', 'Infinity', 'NaN', '1e999', '9007199254740993']) {
      expect([
        text,
        (await failure(make({ schema, env: { prefix: 'X_', variables: { X_N: text } } })))['code'],
      ]).toEqual([text, 'CONFIG_INVALID']);
    }
  });

  it('find known keys whatever their case, may be listed one by one, and win over everything', async () => {
    const variables = {
      APP_SERVER__MAXBODYSIZE: '9',
      APP_NEW__KEY: 'n',
      REDIS_URL: 'redis://r',
      APP_LIST__0: 'z',
    };
    const config = await make({
      defaults: { server: { maxBodySize: 1 }, messaging: { redis: { url: '' } }, list: ['a', 'b'] },
      env: { prefix: 'APP_', map: { REDIS_URL: 'messaging.redis.url' }, variables },
    });
    expect(config.snapshot()).toEqual({
      server: { maxBodySize: 9 },
      messaging: { redis: { url: 'redis://r' } },
      list: ['z', 'b'],
      new: { key: 'n' },
    });
  });

  it('that mean the same path, fit two keys or reach into prototypes are refused', async () => {
    const refuse = async (variables: Record<string, string>, map = {}): Promise<unknown> =>
      (
        await failure(
          make({ env: { prefix: 'X_', variables, map }, defaults: { a: { poolMax: 1, poolmax: 2 } } }),
        )
      )['message'];
    expect(await refuse({ X_B: '1', OTHER: '2' }, { OTHER: 'b' })).toContain('names the same path');
    expect(await refuse({ X_A__POOL_MAX: '1' })).toContain('fits "poolMax" and "poolmax"');
    expect(await refuse({ X___PROTO____X: '1' })).toContain('is not a path');
    expect(await refuse({ X_A__CONSTRUCTOR: '1' })).toContain('is not a path');
    expect(await failure(make({ env: { map: { A: '__proto__.x' } } }))).toMatchObject({
      code: 'INVALID_OPTION',
    });
    expect(await failure(make({ env: 'no prefix' }))).toMatchObject({ code: 'INVALID_OPTION' });
  });

  it('that name nothing known are said to be suspicious, with the name that was probably meant', async () => {
    const logger = recordingLogger();
    const schema = z.object({ server: z.object({ port: z.number().optional() }).optional() });
    await make({ schema, logger, env: { prefix: 'X_', variables: { X_SERVER__PROT: '1' } } });
    expect(logger.lines.filter(({ level }) => level === 'warn')).toMatchObject([
      { level: 'warn', fields: { variable: 'X_SERVER__PROT', nearest: 'port' } },
    ]);
  });

  it('may name a file that holds the value, and follow it', async () => {
    const path = await file('password', 'first\n');
    const variables = { X_DB__PASSWORD_FILE: path };
    const config = await make({ defaults: { db: { password: '' } }, env: { prefix: 'X_', variables } });
    expect(config.get('db.password')).toBe('first');
    expect(config.explain('db.password').winner?.source).toBe('environment variable X_DB__PASSWORD_FILE');
    await writeFile(path, 'second\n');
    await eventually(() => config.get('db.password') === 'second');
    expect((await config.history())[0]).toMatchObject({
      kind: 'reload',
      source: path,
      paths: ['db.password'],
    });
    // As a secret of a Kubernetes volume is rotated: another file in the same place.
    await writeFile(`${path}.new`, 'third\n');
    await rename(`${path}.new`, path);
    await eventually(() => config.get('db.password') === 'third');
    await rm(path);
    await eventually(() => config.stats().state === 'degraded');
    expect(config.get('db.password')).toBe('third');
    await writeFile(path, 'fourth');
    await eventually(() => config.get('db.password') === 'fourth' && config.stats().state === 'ready');
    for (const bad of ['relative', '/nowhere/at/all', '/dev/zero', '/proc/self']) {
      const error = await failure(
        make({
          defaults: { db: { password: '' } },
          env: { prefix: 'X_', variables: { X_DB__PASSWORD_FILE: bad } },
        }),
      );
      expect(error['code']).toBe('CONFIG_INVALID');
    }
    const both = { ...variables, X_DB__PASSWORD: 'direct' };
    expect(
      (await failure(make({ defaults: { db: { password: '' } }, env: { prefix: 'X_', variables: both } })))
        .message,
    ).toContain('is set as well');
  });

  it('pin their path: setting it at run time is refused, around it too where it would have no effect', async () => {
    const config = await make({
      defaults: { a: { b: 1, c: 1 } },
      env: { prefix: 'X_', variables: { X_A__B: '5' } },
    });
    expect(await failure(config.set('a.b', 6))).toMatchObject({
      code: 'CONFIG_SHADOWED',
      details: { by: 'environment variable X_A__B' },
    });
    expect(await failure(config.set('a', { b: 6 }))).toMatchObject({ code: 'CONFIG_SHADOWED' });
    expect(await failure(config.set('a.b.c', 6))).toMatchObject({ code: 'CONFIG_SHADOWED' });
    expect(await config.set('a.c', 6)).toBe(1);
    expect(config.get('a')).toEqual({ b: 5, c: 6 });
  });

  it('are read at the start and on reload, and one that is wrong then leaves the old ones in force', async () => {
    const variables: Record<string, string> = { X_PORT: '1' };
    const schema = z.object({ port: z.number(), other: z.number().optional() });
    const config = await make({ schema, env: { prefix: 'X_', variables } });
    variables['X_PORT'] = '2';
    await config.set('other', 1);
    expect(config.get('port')).toBe(1);
    await config.reload();
    expect(config.get('port')).toBe(2);
    variables['X_PORT'] = 'two';
    expect(await failure(config.reload())).toMatchObject({ code: 'CONFIG_INVALID' });
    expect(config.stats().state).toBe('degraded');
    // What is wrong with the environment stands in nobody else's way.
    await config.set('other', 2);
    expect(config.snapshot()).toEqual({ port: 2, other: 2 });
    variables['X_PORT'] = '3';
    await config.reload();
    expect([config.get('port'), config.stats().state]).toEqual([3, 'ready']);
  });

  it('are those of the process by default, and no other package looks at them', async () => {
    process.env['XIAOKE_TEST_ONLY_A'] = '1';
    const config = await make({ env: 'XIAOKE_TEST_ONLY' });
    delete process.env['XIAOKE_TEST_ONLY_A'];
    expect(config.get('a')).toBe('1');
  });
});
