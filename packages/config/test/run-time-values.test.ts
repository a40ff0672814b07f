import { writeFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { MemoryConfigStore, type ConfigChange } from '@xiaoke/config';
import { eventually } from '@xiaoke/core/testing';
import { failure, useManagers } from './support.ts';

const { make, file } = useManagers();

describe('setting values at run time', () => {
  it('is in force when the promise resolves, and is what get gives back', async () => {
    const config = await make({ defaults: { limits: { rps: 1, burst: 2 } } });
    expect(await config.set('limits.rps', 5)).toBe(1);
    expect(config.get('limits')).toEqual({ rps: 5, burst: 2 });
    expect(await config.set('limits', { rps: 7 })).toBe(2);
    expect(config.get('limits')).toEqual({ rps: 7 });
    expect(config.get('limits.burst', 'none')).toBe('none');
  });

  it('makes one version of many values, or none when one of them is wrong', async () => {
    const schema = z.object({ a: z.number(), b: z.number() });
    const config = await make({ schema, defaults: { a: 1, b: 1 } });
    expect(await config.setMany({ a: 2, b: 2 })).toBe(1);
    const error = await failure(config.setMany({ a: 3, b: 'many' }));
    expect(error).toMatchObject({ code: 'CONFIG_INVALID' });
    expect([config.get('a'), config.get('b'), config.version]).toEqual([2, 2, 1]);
  });

  it('shows the layer below again after unset', async () => {
    const config = await make({ defaults: { a: { b: 1 } } });
    await config.set('a', { b: 2, c: 3 });
    await config.unset('a.c');
    expect(config.get('a')).toEqual({ b: 2 });
    await config.unset('a');
    expect(config.get('a')).toEqual({ b: 1 });
  });

  it('makes no version of what changes nothing', async () => {
    const config = await make();
    await config.set('a', 1);
    expect(await config.set('a', 1)).toBe(1);
  });

  it('refuses paths and values that are no configuration before anything changes', async () => {
    const config = await make({ defaults: { a: 1 } });
    for (const path of ['', 'a..b', '__proto__.x', 'a.constructor', ['x', ''], 'prototype']) {
      expect(await failure(config.set(path, 1))).toMatchObject({
        code: 'INVALID_OPTION',
        details: { option: 'path' },
      });
    }
    const loop: Record<string, unknown> = {};
    loop['self'] = loop;
    for (const value of [
      undefined,
      () => 1,
      Number.NaN,
      2 ** 60,
      new Map(),
      loop,
      { ['__proto__x']: Symbol('x') },
    ]) {
      expect(await failure(config.set('b', value))).toMatchObject({ code: 'INVALID_OPTION' });
    }
    expect(await failure(config.set('b', JSON.parse('{"__proto__":{"polluted":1}}')))).toMatchObject({
      code: 'INVALID_OPTION',
    });
    expect(config.version).toBe(0);
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
  });

  it('refuses a commit on a version that is no longer in force', async () => {
    const config = await make();
    await config.set('a', 1);
    await config.set('a', 2, { ifVersion: 1 });
    expect(await failure(config.set('a', 3, { ifVersion: 1 }))).toMatchObject({
      code: 'CONFIG_CONFLICT',
      currentVersion: 2,
    });
    expect(config.get('a')).toBe(2);
  });

  it('loses no update of transactions that read and write the same value from two managers', async () => {
    const store = new MemoryConfigStore();
    const [one, two] = [await make({ store }), await make({ store })];
    const add = (config: typeof one): Promise<number> =>
      config.transaction((tx) => tx.set('count', Number(tx.get('count') ?? 0) + 1));
    await Promise.all(Array.from({ length: 20 }, (_, index) => add(index % 2 === 0 ? one : two)));
    await eventually(() => one.version === 20 && two.version === 20);
    expect([one.get('count'), two.get('count')]).toEqual([20, 20]);
  });
});

describe('versions', () => {
  it('are kept up to maxVersions, newest first, with who and why and which paths', async () => {
    const config = await make({ maxVersions: 3 });
    for (let value = 1; value <= 5; value += 1) {
      await config.set('a', value, { author: 'ada', reason: `try ${value}` });
    }
    const history = await config.history();
    expect(history.map(({ version }) => version)).toEqual([5, 4, 3]);
    expect(history[0]).toMatchObject({ kind: 'set', author: 'ada', reason: 'try 5', paths: ['a'] });
  });

  it('are at most maxVersions beside however many reloads, which stand between them in their order', async () => {
    const config = await make({ maxVersions: 3 });
    const path = await file('app.json', '{"f":0}');
    await config.addFileSource(path);
    for (let value = 1; value <= 6; value += 1) {
      await config.set('a', value);
      await writeFile(path, `{"f":${value}}`);
      await config.reload();
    }
    await config.reload();
    const history = await config.history();
    expect(history.flatMap(({ version }) => version ?? [])).toEqual([6, 5, 4]);
    expect(history.map(({ kind }) => kind)).toEqual(['reload', 'set', 'reload', 'set', 'reload', 'set']);
    expect(history[0]).toMatchObject({ version: undefined, during: 6, source: path, paths: ['f'] });
    expect(await config.rollback(4)).toBe(7);
    expect([config.get('a'), config.get('f')]).toEqual([4, 6]);
  });

  it('roll back also past a path that the environment pins since', async () => {
    const store = new MemoryConfigStore();
    const before = await make({ store });
    await before.setMany({ a: 1, b: 1 });
    await before.setMany({ a: 2, b: 2 });
    const pinned = await make({ store, env: { map: { A: 'a' }, variables: { A: 'env' } } });
    expect(await failure(pinned.set('a', 3))).toMatchObject({ code: 'CONFIG_SHADOWED' });
    expect(await pinned.rollback(1)).toBe(3);
    expect([pinned.get('a'), pinned.get('b')]).toEqual(['env', 1]);
    await eventually(() => before.get('a') === 1);
  });

  it('roll back as a new version, and forward again', async () => {
    const config = await make({ defaults: { a: 0 } });
    await config.set('a', 1);
    await config.set('a', 2);
    expect(await config.rollback(1, { author: 'ada' })).toBe(3);
    expect(config.get('a')).toBe(1);
    expect(await config.rollback(2)).toBe(4);
    expect(config.get('a')).toBe(2);
    expect(await config.rollback(0)).toBe(5);
    expect(config.get('a')).toBe(0);
    expect((await config.history())[1]).toMatchObject({ kind: 'rollback', to: 2 });
  });

  it('say so when one is no longer kept', async () => {
    const config = await make({ maxVersions: 2 });
    for (const value of [1, 2, 3]) await config.set('a', value);
    expect(await failure(config.rollback(1))).toMatchObject({ code: 'CONFIG_VERSION_NOT_FOUND' });
    expect(config.get('a')).toBe(3);
  });

  it('tell what differs between two of them, with secrets masked', async () => {
    const config = await make();
    await config.setMany({ 'db.password': 'hunter2', rps: 1 });
    await config.setMany({ 'db.password': 'hunter3', rps: 2 });
    expect(await config.diff(1, 2)).toEqual([
      { path: 'db.password', kind: 'changed', value: '***', previous: '***' },
      { path: 'rps', kind: 'changed', value: 2, previous: 1 },
    ]);
  });
});

describe('callbacks', () => {
  it('are told once, after the change is in force, what is different', async () => {
    const config = await make({ defaults: { a: 1, b: { c: 1 } } });
    const changes: ConfigChange[] = [];
    const seen: unknown[] = [];
    config.addChangeCallback((change) => {
      changes.push(change);
      seen.push(config.get('a'));
    });
    const values: unknown[] = [];
    config.subscribe('b.c', (value, previous) => values.push([value, previous]));
    await config.set('a', 2);
    await config.setMany({ a: 3, 'b.c': 2 });
    expect(changes.map(({ version }) => version)).toEqual([1, 2]);
    expect(changes[1]?.changes).toEqual([
      { path: 'a', kind: 'changed', value: 3, previous: 2 },
      { path: 'b.c', kind: 'changed', value: 2, previous: 1 },
    ]);
    expect(seen).toEqual([2, 3]);
    expect(values).toEqual([[2, 1]]);
  });

  it('may set, unsubscribe and close in the middle of being told', async () => {
    const config = await make();
    const told: unknown[] = [];
    const remove = config.subscribe('a', async (value) => {
      told.push(['a', value]);
      remove();
      await config.set('b', value);
    });
    config.subscribe('b', (value) => {
      told.push(['b', value]);
      void config.close();
    });
    await config.set('a', 1);
    await eventually(() => told.length === 2);
    expect(told).toEqual([
      ['a', 1],
      ['b', 1],
    ]);
    expect(await failure(config.set('a', 2))).toMatchObject({ code: 'CONFIG_CLOSED' });
    expect(config.get('a')).toBe(1);
  });

  it('are told at once when they ask for it, end with their signal, and leave nothing behind', async () => {
    const config = await make({ defaults: { a: 1 } });
    const told: unknown[] = [];
    const controller = new AbortController();
    config.subscribe('a', (value) => told.push(value), { immediate: true, signal: controller.signal });
    expect(told).toEqual([1]);
    await config.set('a', 2);
    controller.abort();
    await config.set('a', 3);
    expect(told).toEqual([1, 2]);
    for (let count = 0; count < 10_000; count += 1) config.subscribe('a', () => {})();
    expect(config.stats().subscribers).toBe(0);
    for (const bad of [undefined, 'x', 7] as never[]) {
      expect(() => config.addChangeCallback(bad)).toThrow(
        expect.objectContaining({ code: 'INVALID_OPTION' }),
      );
      expect(() => config.subscribe('a', bad)).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }));
      expect(() => config.guard('a', bad)).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }));
    }
  });

  it('that throw, reject or hang are counted and harm nobody', async () => {
    const config = await make();
    const told: unknown[] = [];
    config.addChangeCallback(() => {
      throw new Error('no');
    });
    config.addChangeCallback(() => Promise.reject(new Error('no')));
    config.addChangeCallback(() => new Promise(() => {}));
    config.subscribe('a', (value) => told.push(value));
    await config.set('a', 1);
    await config.set('a', 2);
    expect(told).toEqual([1, 2]);
    expect(config.stats().callbackErrors).toBe(4);
  });
});
