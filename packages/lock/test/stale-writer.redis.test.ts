import { spawnNode, startMongo, startPostgres, startRedis } from '@xiaoke/test-servers';
import { expect, test } from 'vitest';
import { createLockManager } from '../src/index.ts';
import { openStore, storeKinds } from './fixtures/fenced-store.ts';
import { freshNamespace } from './run-conformance.ts';

const ACCOUNTS = 100;
const TTL = 1_000;
const PAST_LEASE = 5_000;
const servers = { postgres: startPostgres, redis: startRedis, mongo: startMongo };

test.each(storeKinds)(
  'scenario 3: a process that was stopped for 5 s past its lease has 100 of 100 writes refused by %s, and none without the fence',
  { timeout: 90_000 },
  async (kind) => {
    await using redis = await startRedis();
    await using server = await servers[kind]();
    const namespace = freshNamespace();
    const store = await openStore(kind, server.url);
    await store.prepare(ACCOUNTS);
    await using locks = await createLockManager({
      redis: redis.url,
      namespace,
      // As long as it takes on a machine that does much else; nobody waits for it.
      defaultTtl: 30_000,
      defaultWait: 60_000,
    });
    await using stopped = spawnNode(new URL('./fixtures/writer.ts', import.meta.url), {
      args: [redis.url, namespace, String(TTL), String(ACCOUNTS), kind, server.url],
    });
    await stopped.message((message) => message['kind'] === 'checked', 30_000);
    stopped.pause();
    const since = performance.now();
    // The second holder of each comes in when the lease of the first has ended.
    await Promise.all(
      Array.from({ length: ACCOUNTS }, (_, account) =>
        locks.withLock(`account:${account}`, (lock) => store.fenced(account, 'second', lock.fencingToken)),
      ),
    );
    expect(await store.writers()).toEqual({ second: ACCOUNTS });
    await new Promise((resolve) => {
      setTimeout(resolve, since + TTL + PAST_LEASE - performance.now());
    });
    stopped.resume();
    stopped.send({ kind: 'write' });
    const fenced = await stopped.message((message) => message['kind'] === 'fenced', 30_000);
    // On its first line it knows better; but the check that it made before the stop said yes.
    expect(fenced).toMatchObject({ believed: 0, refused: ACCOUNTS });
    expect(await store.writers()).toEqual({ second: ACCOUNTS });
    stopped.send({ kind: 'write past the fence' });
    await stopped.message((message) => message['kind'] === 'past', 30_000);
    expect(await store.writers()).toEqual({ stopped: ACCOUNTS });
    await store.close();
  },
);
