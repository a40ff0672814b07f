import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import { TransientMap } from '@xiaoke/core';

const LIVE = 100;

interface MapLike<K, V> {
  set(key: K, value: V): unknown;
  delete(key: K): boolean;
}

/** Bytes that outlived the young collections, of 5,000 kilobytes that lived for a hundred steps each. */
function grownOld(map: MapLike<number, number[]>): number {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as (options?: { type: 'minor' }) => void;
  const old = (): number =>
    getHeapSpaceStatistics()
      .filter(({ space_name }) => space_name.startsWith('old'))
      .reduce((sum, { space_used_size }) => sum + space_used_size, 0);
  for (let at = 0; at < LIVE; at += 1) map.set(at, []);
  collect();
  const before = old();
  for (let at = LIVE; at < 5_000; at += 1) {
    map.set(
      at,
      Array.from({ length: 128 }, () => at),
    );
    map.delete(at - LIVE);
    if (at % 1_000 === 0) collect({ type: 'minor' });
  }
  collect({ type: 'minor' });
  collect({ type: 'minor' });
  return old() - before;
}

test('holds what it was given, in order', () => {
  const map = new TransientMap<string, number>();
  map.set('a', 1).set('b', 2).set('a', 3);
  expect([...map]).toEqual([
    ['a', 3],
    ['b', 2],
  ]);
  expect([...map.keys()]).toEqual(['a', 'b']);
  expect([...map.values()]).toEqual([3, 2]);
  expect([map.size, map.get('a'), map.has('b'), map.get('c')]).toEqual([2, 3, true, undefined]);
  expect([map.delete('a'), map.delete('a'), map.size]).toEqual([true, false, 1]);
  map.clear();
  expect([map.size, map.has('b')]).toEqual([0, false]);
});

test('is the map a Map would be, whatever comes and goes', () => {
  const map = new TransientMap<number, number>();
  const model = new Map<number, number>();
  let seed = 1;
  for (let step = 0; step < 20_000; step += 1) {
    seed = (seed * 48_271) % 2_147_483_647;
    const key = seed % 150;
    const [left, leftModel] = seed % 3 === 0 ? [map.delete(key), model.delete(key)] : [false, false];
    if (seed % 3 !== 0) {
      map.set(key, step);
      model.set(key, step);
    }
    expect([left, map.size, map.get(key)]).toEqual([leftModel, model.size, model.get(key)]);
  }
  expect([...map]).toEqual([...model]);
});

test('an entry that is deleted while it is gone through costs no other one', () => {
  const map = new TransientMap<number, number>();
  for (let key = 0; key < 200; key += 1) map.set(key, key);
  const seen: number[] = [];
  for (const [key] of map) {
    seen.push(key);
    map.delete(key);
  }
  expect(seen).toHaveLength(200);
  expect(map.size).toBe(0);
});

test('what has left it is collected young, unlike what has left a Map', () => {
  expect(grownOld(new TransientMap())).toBeLessThan(500_000);
  expect(grownOld(new Map())).toBeGreaterThan(2_000_000);
});
