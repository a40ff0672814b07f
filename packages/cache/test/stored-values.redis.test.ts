import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import { eventually } from '@xiaoke/core/testing';
import { sharedRedis } from '@xiaoke/test-servers';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { decodeRecord, encodeRecord, type NewRecord } from '../src/codec/record.ts';
import type { CacheManager } from '../src/index.ts';
import { fresh, onRedis } from './support/caches.ts';

let raw: Redis;
beforeAll(async () => {
  raw = new Redis((await sharedRedis()).url);
});
afterAll(() => raw.disconnect());

const entryKey = (namespace: string, key: string): string => `xc:${namespace}:e::{${key}}:v`;

const unpadded = (made: Buffer): Buffer => Buffer.concat([made, Buffer.alloc(4)]);

/** A writer and a reader on one namespace; the reader's first tier never knows what the writer has. */
async function pair(options = {}): Promise<{ a: CacheManager; b: CacheManager; namespace: string }> {
  const namespace = fresh();
  const a = await onRedis({ namespace, ...options });
  const b = await onRedis({ namespace, ...options });
  return { a, b, namespace };
}

/** What is stored for `key`, and a way to store something else. */
async function stored(namespace: string, key: string): Promise<NewRecord & { bytes: Buffer }> {
  const bytes = await raw.getBuffer(entryKey(namespace, key));
  const record = decodeRecord(bytes ?? Buffer.alloc(0), key);
  if (typeof record === 'string') throw new Error(record);
  const { format, codec, rawLength, writtenAt, freshFor, loadMs, idleTtl, generation, tags } = record;
  const head = { format, codec, rawLength, writtenAt, freshFor, loadMs, idleTtl, generation, tags };
  return { ...head, key, bytes: record.source.subarray(record.from, record.to) };
}

describe('bytes that are not what they should be are a miss, are counted, and hurt nobody', () => {
  const spoiled: [reason: string, (good: Buffer) => Buffer][] = [
    ['foreign', () => Buffer.from('{"json":"of somebody else, which is long enough for a header"}')],
    ['foreign', () => Buffer.alloc(0)],
    ['foreign', (good) => good.subarray(0, 20)],
    ['version', (good) => Buffer.concat([Buffer.from([0x58, 99]), good.subarray(2)])],
    ['checksum', (good) => good.subarray(0, good.length - 1)],
    ['checksum', (good) => Buffer.concat([good, Buffer.from([0])])],
  ];
  it.each(spoiled)('%s (%#)', async (reason, spoil) => {
    const { a, b, namespace } = await pair();
    await a.set('k', { n: 1 }, { tags: ['t'] });
    const good = await raw.getBuffer(entryKey(namespace, 'k'));
    await raw.set(entryKey(namespace, 'k'), spoil(good ?? Buffer.alloc(0)));
    const rejects: unknown[] = [];
    b.on('reject', (event) => rejects.push(event));
    expect(await b.get('k')).toBeUndefined();
    expect(rejects).toEqual([{ key: 'k', reason }]);
    expect(b.stats().redis).toMatchObject({ rejected: 1, state: 'up' });
    // The loader takes its place, and what it gives replaces the spoiled bytes.
    expect(await b.getOrSet('k', () => ({ n: 2 }))).toEqual({ n: 2 });
    expect((await stored(namespace, 'k')).bytes.toString()).toBe('{"n":2}');
  });

  it('one flipped bit, wherever it is', async () => {
    const { a, b, namespace } = await pair();
    await a.set('k', { name: 'Ada' }, { tags: ['t'] });
    const good = (await raw.getBuffer(entryKey(namespace, 'k'))) ?? Buffer.alloc(0);
    for (let bit = 0; bit < good.length * 8; bit += 7) {
      const flipped = Buffer.from(good);
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      await raw.set(entryKey(namespace, 'k'), flipped);
      const seen = await b.get('k');
      expect(seen, `bit ${bit}`).toBeUndefined();
    }
  });

  it('the value of another key', async () => {
    const { a, b, namespace } = await pair();
    await a.set('mine', 'secret of mine');
    await a.set('yours', 'yours');
    await raw.set(
      entryKey(namespace, 'yours'),
      (await raw.getBuffer(entryKey(namespace, 'mine'))) ?? Buffer.alloc(0),
    );
    expect(await b.get('yours')).toBeUndefined();
    expect(await b.get('mine')).toBe('secret of mine');
  });

  it('a value of another serializer', async () => {
    const namespace = fresh();
    const a = await onRedis({ namespace, serializer: 'v8' });
    const b = await onRedis({ namespace });
    await a.set('k', new Date(0));
    expect(await b.get('k')).toBeUndefined();
    expect(b.stats().redis.rejected).toBe(1);
  });
});

describe('a value that would expand to 100 MiB', () => {
  const huge = 100 * 1024 * 1024;
  const bomb = unpadded(
    brotliCompressSync(Buffer.alloc(huge), {
      params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_LGWIN]: 24 },
    }),
  );

  it.each([
    ['says so', huge],
    ['lies about it', 1_000],
    ['lies about it, up to the limit of a value', 8 * 1024 * 1024],
    ['lies about it, up to the limit of what compression may save', 170_000],
  ])('and %s is refused without taking the memory', async (_, rawLength) => {
    const { a, b, namespace } = await pair();
    expect(bomb.length).toBeLessThan(200);
    await a.set('k', 'x');
    const record = await stored(namespace, 'k');
    await raw.set(
      entryKey(namespace, 'k'),
      encodeRecord({ ...record, format: 3, codec: 2, rawLength, bytes: bomb }),
    );
    const before = process.memoryUsage().rss;
    for (let i = 0; i < 20; i += 1) expect(await b.get('k')).toBeUndefined();
    // Twenty of them: had one been inflated, it would show.
    expect(process.memoryUsage().rss - before).toBeLessThan(20 * 1024 * 1024);
    expect(b.stats().redis).toMatchObject({ rejected: 20, state: 'up' });
  });

  it('and a length that is too short or too long is refused', async () => {
    const { a, b, namespace } = await pair();
    await a.set('k', 'x');
    const record = await stored(namespace, 'k');
    for (const rawLength of [9, 11]) {
      const packed = { ...record, format: 1, codec: 1, rawLength, bytes: unpadded(gzipSync('ten bytes!')) };
      await raw.set(entryKey(namespace, 'k'), encodeRecord(packed));
      expect(await b.get('k')).toBeUndefined();
    }
    await raw.set(
      entryKey(namespace, 'k'),
      encodeRecord({
        ...record,
        format: 1,
        codec: 99,
        rawLength: 10,
        bytes: unpadded(gzipSync('ten bytes!')),
      }),
    );
    expect(await b.get('k')).toBeUndefined();
    expect(b.stats().redis.rejected).toBe(3);
  });
});

it.each([
  ['{"__proto__":{"polluted":true},"ok":1}', { ok: 1 }],
  ['{"a":{"\\u005f_proto__":{"polluted":true}},"ok":1}', { a: {}, ok: 1 }],
  ['{"constructor":{"prototype":{"polluted":true}},"ok":1}', { ok: 1 }],
  ['{"constructor":"a word","ok":1}', { constructor: 'a word', ok: 1 }],
])('a stored %s pollutes nothing', async (text, expected) => {
  const { a, b, namespace } = await pair();
  await a.set('k', {});
  const record = await stored(namespace, 'k');
  const bytes = Buffer.from(text);
  await raw.set(entryKey(namespace, 'k'), encodeRecord({ ...record, bytes, rawLength: bytes.length }));
  const value = await b.get('k');
  expect(value).toEqual(expected);
  const merged: Record<string, unknown> = Object.assign({}, value);
  expect(merged['polluted']).toBeUndefined();
  expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
});

describe('every value comes back from Redis as it went in', () => {
  it.each<[string, unknown]>([
    ['zero', 0],
    ['false', false],
    ['the empty text', ''],
    ['null', null],
    ['text', 'grüße 🐘'],
    ['an object', { a: [1, { b: null }] }],
    ['bytes', Buffer.from([0, 255, 1])],
  ])('json: %s', async (_, value) => {
    const { a, b } = await pair();
    await a.set('k', value);
    expect(await b.get('k')).toEqual(value);
    expect(await b.has('k')).toBe(true);
  });

  it.each<[string, unknown]>([
    ['not a number', Number.NaN],
    ['minus zero', -0],
    ['a date', new Date(86_400_000)],
    ['a map of sets', new Map([['x', new Set([1n, 2n])]])],
    ['nothing in a list', [undefined, null]],
    ['bytes', new Uint8Array([1, 2, 3])],
  ])('v8: %s', async (_, value) => {
    const { a, b } = await pair({ serializer: 'v8' });
    await a.set('k', value);
    expect(await b.get('k')).toEqual(value instanceof Uint8Array ? Buffer.from(value) : value);
  });

  it('an answer of nothing is remembered for its own time, in both tiers', async () => {
    const { a, b } = await pair();
    let loads = 0;
    const load = (): undefined => {
      loads += 1;
    };
    expect(await a.getOrSet('k', load, { negativeTtl: '1m' })).toBeUndefined();
    expect(await b.getOrSet('k', load, { negativeTtl: '1m' })).toBeUndefined();
    expect(await b.getOrSet('k', load)).toBeUndefined();
    expect(loads).toBe(1);
    expect(await a.getOrSet('other', load)).toBeUndefined();
    expect(await a.getOrSet('other', load)).toBeUndefined();
    expect(loads).toBe(3);
  });

  it('a serializer of your own', async () => {
    const serializer = {
      serialize: (value: unknown) => Buffer.from(`#${String(value)}`),
      deserialize: (bytes: Uint8Array) => Number(Buffer.from(bytes).toString().slice(1)),
    };
    const { a, b, namespace } = await pair({ serializer });
    await a.set('k', 7);
    expect(await b.get('k')).toBe(7);
    expect((await stored(namespace, 'k')).bytes.toString()).toBe('#7');
    const broken = await onRedis({
      namespace,
      serializer: { ...serializer, serialize: () => 'text' as never },
    });
    await expect(broken.set('k', 8)).rejects.toMatchObject({ code: 'SERIALIZATION' });
  });
});

const hasZstd = 'zstdCompressSync' in (await import('node:zlib'));

describe('compression', () => {
  const text = 'all work and no play makes jack a dull boy. '.repeat(100);

  it.each(['gzip', 'brotli', ...(hasZstd ? (['zstd'] as const) : [])] as const)(
    '%s makes less of what is long, and leaves alone what is short',
    async (algorithm) => {
      const { a, b, namespace } = await pair({ compression: algorithm });
      await a.set('long', text);
      await a.set('short', 'short');
      expect((await stored(namespace, 'long')).bytes.length).toBeLessThan(text.length / 4);
      expect((await stored(namespace, 'short')).codec).toBe(0);
      expect(await b.get('long')).toBe(text);
      // Beyond 64 KiB the thread pool does it.
      const large = text.repeat(50);
      await a.set('large', { large });
      expect(await b.get('large')).toEqual({ large });
      const { compressedIn, compressedOut } = a.stats().redis;
      expect(compressedIn).toBeGreaterThan(200_000);
      expect(compressedOut).toBeLessThan(compressedIn / 10);
    },
  );

  it('begins at its threshold, and is left out where it would not pay', async () => {
    const { a, namespace } = await pair({ compression: { algorithm: 'gzip', threshold: 100 } });
    await a.set('below', 'x'.repeat(99));
    await a.set('at', 'x'.repeat(100));
    const noise = Buffer.from(Array.from({ length: 4_000 }, () => Math.floor(Math.random() * 256)));
    await a.set('noise', noise);
    expect((await stored(namespace, 'below')).codec).toBe(0);
    expect((await stored(namespace, 'at')).codec).toBe(1);
    expect((await stored(namespace, 'noise')).codec).toBe(0);
  });

  it('of what hardly says anything is still read back', async () => {
    const { a, b, namespace } = await pair({ compression: 'brotli' });
    const zeros = '0'.repeat(5_000_000);
    await a.set('zeros', zeros);
    expect((await stored(namespace, 'zeros')).bytes.length).toBeLessThan(6_000);
    expect(await b.get('zeros')).toBe(zeros);
  });

  it('can be changed without losing what is stored', async () => {
    const namespace = fresh();
    const a = await onRedis({ namespace, compression: 'brotli' });
    await a.set('k', text);
    const b = await onRedis({ namespace, compression: 'gzip' });
    expect(await b.get('k')).toBe(text);
  });

  it.runIf(!hasZstd)('of a kind this Node does not have is refused by its name', async () => {
    await expect(onRedis({ compression: 'zstd' })).rejects.toMatchObject({
      code: 'INVALID_OPTION',
      details: { option: 'compression' },
    });
  });
});

it('a value that is too large is served, not stored, and what was stored before it is gone', async () => {
  const { a, b } = await pair({ maxValueBytes: 1_000 });
  await a.set('k', 'small');
  await a.set('k', 'x'.repeat(2_000));
  expect(a.peek('k')).toHaveLength(2_000);
  expect(await b.get('k')).toBeUndefined();
  expect(await b.getOrSet('loaded', () => 'y'.repeat(2_000))).toHaveLength(2_000);
  expect(a.stats().redis.skipped + b.stats().redis.skipped).toBe(2);
});

it('keys of any letters and any length have their own place', async () => {
  const { a, b } = await pair();
  const keys = [
    'a{b}c',
    '}{',
    '%7B',
    '{}',
    'ключ',
    '🔑',
    'a:b',
    ' ',
    'x'.repeat(8_000),
    `${'x'.repeat(7_999)}y`,
  ];
  await a.setMany(keys.map((key, i) => [key, i] as const));
  await eventually(async () => {
    expect(await b.getMany(keys)).toEqual(new Map(keys.map((key, i) => [key, i] as const)));
  });
  expect(await a.deleteMany(keys)).toBe(keys.length);
  expect((await b.getMany(keys)).size).toBe(0);
});
