import { MongoClient } from 'mongodb';
import { expect, test } from 'vitest';

import { eventually, isRunning, startMongo, startMongoReplicaSet } from '../src/index.ts';

const IMPATIENT = {
  serverSelectionTimeoutMS: 1_000,
  connectTimeoutMS: 500,
  heartbeatFrequencyMS: 500,
  retryReads: false,
};

test('a MongoDB server answers, hangs while paused, and comes back after a kill', async () => {
  const mongo = await startMongo();
  const { pid } = mongo;
  await using client = await new MongoClient(mongo.url, { ...IMPATIENT, socketTimeoutMS: 500 }).connect();
  const facts = client.db('test').collection<{ name: string; value: number }>('facts');
  await facts.insertOne({ name: 'one', value: 42 });
  expect(await facts.findOne({ name: 'one' })).toMatchObject({ value: 42 });

  mongo.pause();
  await expect(facts.findOne({ name: 'one' })).rejects.toThrow();
  mongo.resume();
  await eventually(() => client.db('test').command({ ping: 1 }));

  await mongo.restart();
  await eventually(() => client.db('test').command({ ping: 1 }));
  await mongo.stop();
  expect(isRunning(pid)).toBe(false);
});

test('a driver follows the elections of a replica set', async () => {
  await using set = await startMongoReplicaSet();
  await using client = await new MongoClient(set.url, IMPATIENT).connect();
  const ping = (): Promise<unknown> => client.db('admin').command({ ping: 1 });
  expect(await ping()).toMatchObject({ ok: 1 });

  set.stepDown();
  await eventually(() =>
    ping().then(
      () => false,
      (error: Error) => error.name === 'MongoServerSelectionError',
    ),
  );
  const [, , third] = set.members;
  if (third === undefined) throw new Error('three members were asked for');
  set.elect(third);
  await eventually(ping);
  const status = await client.db('admin').command({ replSetGetStatus: 1 });
  expect(status['members']).toMatchObject([
    { stateStr: 'SECONDARY' },
    { stateStr: 'SECONDARY' },
    { stateStr: 'PRIMARY', self: true },
  ]);
});

test('a member that hangs, dies or answers by hand is seen so by a driver', async () => {
  await using set = await startMongoReplicaSet({ members: 1 });
  const [member] = set.members;
  if (member === undefined) throw new Error('a member was asked for');
  await using client = await new MongoClient(set.url, { ...IMPATIENT, socketTimeoutMS: 300 }).connect();
  const admin = client.db('admin');
  member.answer = (name) => (name === 'ping' ? { ok: 0, errmsg: 'by hand', code: 1 } : undefined);
  await expect(admin.command({ ping: 1 })).rejects.toThrow('by hand');
  member.answer = undefined;

  member.delayMs = Infinity;
  await expect(admin.command({ ping: 1 })).rejects.toThrow();
  member.delayMs = 0;
  await eventually(() => admin.command({ ping: 1 }));

  await member.kill();
  expect(member.connections).toBe(0);
  await expect(admin.command({ ping: 1 })).rejects.toThrow();
  await member.restart();
  await eventually(() => admin.command({ ping: 1 }));
});
