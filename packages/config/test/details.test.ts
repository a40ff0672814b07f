import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import type { StandardSchemaV1 } from '@xiaoke/core';
import { failure, useManagers } from './support.ts';

const { make, file } = useManagers();

/** A schema that accepts everything and tells a JSON Schema, as Standard Schema 1.1 has it. */
function telling(jsonSchema: object): StandardSchemaV1<unknown, unknown> {
  const standard = {
    version: 1,
    vendor: 'test',
    validate: (value: unknown) => ({ value }),
    jsonSchema: { input: () => jsonSchema },
  };
  return { '~standard': standard } as never;
}

describe('a schema with references, alternatives and tuples', () => {
  it('tells the type of a text wherever it stands, and what is secret', async () => {
    const schema = telling({
      $ref: '#/$defs/Root',
      $defs: {
        Root: {
          type: 'object',
          properties: {
            port: { $ref: '#/$defs/Port' },
            either: { anyOf: [{ type: 'boolean' }, { type: 'null' }] },
            pair: { type: 'array', prefixItems: [{ type: 'integer' }, { type: 'string' }] },
            any: { additionalProperties: { type: 'number' } },
            level: { enum: [1, 2, 3] },
            only: { const: true },
            tree: { $ref: '#' },
            pin: { type: 'string', format: 'password' },
            code: { type: 'string', writeOnly: true },
          },
        },
        Port: { type: ['integer', 'null'] },
      },
    });
    const variables = {
      X_PORT: '80',
      X_EITHER: 'null',
      X_PAIR__0: '7',
      X_PAIR__1: '8',
      X_ANY__DEEP: '1.5',
      X_LEVEL: '2',
      X_ONLY: 'yes',
      X_TREE__TREE__PORT: '81',
      X_PIN: '1234',
      X_CODE: '0815',
    };
    const config = await make({ schema, defaults: { pair: [1, 'b'] }, env: { prefix: 'X_', variables } });
    expect(config.snapshot()).toEqual({
      port: 80,
      either: null,
      pair: [7, '8'],
      any: { deep: 1.5 },
      level: 2,
      only: true,
      tree: { tree: { port: 81 } },
      pin: '1234',
      code: '0815',
    });
    expect(config.masked()).toMatchObject({ pin: '***', code: '***', port: 80 });
    expect(config.explain('port')).toMatchObject({ raw: '80', coercedTo: 'number' });
  });

  it('that refers to nothing, to itself, or cannot be told at all is none', async () => {
    for (const schema of [
      telling({ $ref: 'http://elsewhere/' }),
      telling({ $ref: '#/nowhere' }),
      telling({ $ref: '#' }),
      { '~standard': { ...telling({})['~standard'], jsonSchema: { input: () => JSON.parse('{') } } } as never,
    ]) {
      const config = await make({ schema, env: { prefix: 'X_', variables: { X_A: '1' } } });
      expect(config.get('a')).toBe('1');
    }
  });
});

describe('run-time values inside of run-time values', () => {
  it('are set, unset and explained in mappings and lists, and refused where nothing can be', async () => {
    const config = await make();
    await config.set('a', { list: [1, { x: 1 }], deep: { y: 1 } });
    await config.setMany(
      new Map([
        ['a.list[1].x', 2],
        ['a.list[2]', 3],
        ['a.deep.z.w', 4],
      ]),
    );
    expect(config.get('a')).toEqual({ list: [1, { x: 2 }, 3], deep: { y: 1, z: { w: 4 } } });
    await config.unset('a.list.0');
    await config.unset('a.list.0.x');
    await config.unset('a.deep.nothing');
    expect(config.get('a')).toEqual({ list: [{}, 3], deep: { y: 1, z: { w: 4 } } });
    for (const path of ['a.list.9', 'a.list.x', 'a.deep.y.z']) {
      expect([path, (await failure(config.set(path, 1)))['code']]).toEqual([path, 'INVALID_OPTION']);
    }
    await config.unset('a');
    await config.setMany({ 'b.one': 1, 'b.two.three': 2 });
    expect(config.explain('b').winner).toMatchObject({
      layer: 'runtime',
      value: { one: 1, two: { three: 2 } },
    });
    expect(config.runtimeValues()).toEqual({ 'b.one': 1, 'b.two.three': 2 });
    expect((await failure(config.set('big', 'x'.repeat(1_100_000)))).message).toContain('larger than');
  });

  it('that change nothing else are told by their own path alone', async () => {
    const config = await make({ schema: z.looseObject({}), defaults: { a: { b: 1, c: { d: 1 } } } });
    const told: string[] = [];
    config.addChangeCallback(({ changes }) =>
      told.push(...changes.map(({ path, kind }) => `${kind} ${path}`)),
    );
    await config.set('a.c.d', 2);
    await config.set('a.c.e', {});
    await config.unset('a.c.e');
    await config.set('a.list', [1, 2]);
    expect(told).toEqual(['changed a.c.d', 'added a.c.e', 'removed a.c.e', 'added a.list']);
  });
});

describe('a file without an extension', () => {
  it('is read in the format that is given, and its overlays stand beside it', async () => {
    const path = await file('settings', 'a = 1\n');
    const config = await make();
    await config.addFileSource(path, 'toml');
    expect(config.get('a')).toBe(1);
    expect(config.stats().sources.map(({ name }) => name)).toContain(`${path}.local`);
  });
});
