import { startMongo } from '@xiaoke/test-servers';
import { MongoClient, type Collection } from 'mongodb';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { mongoFence, StaleTokenError, type MongoCollection } from '../src/fence/index.ts';
import { createLockManager } from '../src/index.ts';

interface Account {
  readonly number: number;
  readonly writer?: string;
  readonly fence?: number;
}

const server = await startMongo();
const client = new MongoClient(server.url);
let accounts: Collection<Account>;

beforeAll(async () => {
  await client.connect();
  accounts = client.db('test').collection<Account>('accounts');
});

afterAll(async () => {
  await client.close();
  await server.stop();
});

const writerOf = async (number: number): Promise<string | undefined> =>
  (await accounts.findOne({ number }))?.writer;

test('MongoDB refuses 100 of 100 stale writers, which without the fence would all have written', async () => {
  await accounts.insertOne({ number: 1 });
  const fence = mongoFence(accounts);
  for (let round = 1; round <= 100; round += 1) {
    await fence.updateOne({ number: 1 }, { $set: { writer: 'new' } }, 2 * round + 1);
    await expect(
      fence.updateOne({ number: 1 }, { $set: { writer: 'stale' } }, 2 * round),
    ).rejects.toMatchObject({ code: 'STALE_TOKEN', details: { token: 2 * round, seen: 2 * round + 1 } });
    expect(await writerOf(1)).toBe('new');
  }
  // The same holder may write again; and this is what the fence is for.
  await fence.updateOne({ number: 1 }, { $set: { writer: 'same holder' } }, 201);
  await accounts.updateOne({ number: 1 }, { $set: { writer: 'stale, unfenced' } });
  expect(await writerOf(1)).toBe('stale, unfenced');
});

test('an upsert inserts once, and a stale one is refused instead of inserting a second document', async () => {
  const fence = mongoFence(accounts, { field: 'fence' });
  const first = await fence.updateOne({ number: 2 }, { $set: { writer: 'a' } }, 20, { upsert: true });
  expect(first.upsertedCount).toBe(1);
  await expect(
    fence.updateOne({ number: 2 }, { $set: { writer: 'stale' } }, 19, { upsert: true }),
  ).rejects.toThrow(StaleTokenError);
  expect(await writerOf(2)).toBe('a');
  expect(await accounts.countDocuments({ number: 2 })).toBe(1);
});

test('an upsert that another one overtook is refused by its token, or written after it', async () => {
  // The server for tests checks no unique index in an upsert, so its refusal is given here.
  const overtaken = (number: number, fence: number): MongoCollection => ({
    findOne: async (filter) => await accounts.findOne(filter),
    updateOne: async (filter, update, options) => {
      const { upsert } = (options ?? {}) as { upsert?: boolean };
      if (upsert !== true) return await accounts.updateOne(filter, update, options);
      await accounts.insertOne({ number, writer: 'first', fence });
      throw Object.assign(new Error('E11000 duplicate key'), { code: 11_000 });
    },
  });
  const write = { $set: { writer: 'second' } };
  const stale = mongoFence(overtaken(7, 50)).updateOne({ number: 7 }, write, 49, { upsert: true });
  await expect(stale).rejects.toThrow(StaleTokenError);
  await mongoFence(overtaken(8, 50)).updateOne({ number: 8 }, write, 51, { upsert: true });
  expect([await writerOf(7), await writerOf(8)]).toEqual(['first', 'second']);
});

test('a filter that has alternatives of its own is not weakened by the fence', async () => {
  await accounts.insertMany([{ number: 5 }, { number: 6 }]);
  const fence = mongoFence(accounts);
  const filter = { $or: [{ number: 5 }, { number: -5 }], $and: [{ number: { $gt: 0 } }] };
  await fence.updateOne(filter, { $set: { writer: 'a' } }, 10);
  expect([await writerOf(5), await writerOf(6)]).toEqual(['a', undefined]);
  await expect(fence.updateOne(filter, { $set: { writer: 'b' } }, 9)).rejects.toThrow(StaleTokenError);
});

test('a document that is not there is nobody, not a stale write', async () => {
  const result = await mongoFence(accounts).updateOne({ number: 404 }, { $set: { writer: 'x' } }, 1);
  expect(result.matchedCount).toBe(0);
});

test('a lock is its own token, of two holders the later one wins', async () => {
  await accounts.insertOne({ number: 3 });
  const fence = mongoFence(accounts);
  await using locks = await createLockManager({});
  const paused = await locks.acquireLock('account:3');
  await locks.forceRelease('account:3');
  const holder = await locks.acquireLock('account:3');
  await fence.updateOne({ number: 3 }, { $set: { writer: 'holder' } }, holder);
  await expect(fence.updateOne({ number: 3 }, { $set: { writer: 'paused' } }, paused)).rejects.toThrow(
    StaleTokenError,
  );
  expect(await writerOf(3)).toBe('holder');
});

test('a token that no lock gave and a field that is no plain name are refused before anything is written', async () => {
  const fence = mongoFence(accounts);
  for (const token of [0, -1, 1.5, Number.NaN, { fencingToken: Infinity }]) {
    await expect(fence.updateOne({ number: 1 }, { $set: { writer: 'x' } }, token)).rejects.toMatchObject({
      code: 'INVALID_OPTION',
      details: { option: 'token' },
    });
  }
  for (const field of ['', '$where', 'a.b']) expect(() => mongoFence(accounts, { field })).toThrow(/field/);
  expect(await writerOf(1)).not.toBe('x');
});

test('the server dies and comes back: a write in between fails, and is no stale token', async () => {
  const fence = mongoFence(accounts);
  await server.kill();
  const impatient = new MongoClient(server.url, { serverSelectionTimeoutMS: 300 });
  const away = mongoFence(impatient.db('test').collection('accounts'));
  await expect(away.updateOne({ number: 9 }, { $set: { writer: 'x' } }, 5)).rejects.not.toThrow(
    StaleTokenError,
  );
  await impatient.close();
  await server.restart();
  const written = await fence.updateOne({ number: 9 }, { $set: { writer: 'x' } }, 6, { upsert: true });
  expect(written.upsertedCount).toBe(1);
});
