import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Pool, type PoolClient } from 'pg';
import { eventually, recordingLogger } from '@xiaoke/core/testing';
import {
  sharedRedis,
  spawnNode,
  startPostgres,
  startRedis,
  type PostgresServer,
  type SharedRedis,
} from '@xiaoke/test-servers';
import { createQueueManager, type QueueManager, type QueueManagerOptions } from '../src/index.ts';
import { createOutbox, type Outbox, type OutboxOptions } from '../src/outbox/index.ts';

const RELAY = new URL('./fixtures/relay.ts', import.meta.url);
const open: { close(options?: { timeout: number }): Promise<void> }[] = [];
let postgres: PostgresServer;
let redis: SharedRedis;
let pool: Pool;

beforeAll(async () => {
  [postgres, redis] = await Promise.all([startPostgres(), sharedRedis()]);
  pool = new Pool({ connectionString: postgres.url, max: 8 });
  pool.on('error', () => {});
});

afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.close({ timeout: 1_000 });
  await pool.query('DROP TABLE IF EXISTS xiaoke_outbox');
});

afterAll(async () => {
  await pool.end();
  await postgres.stop();
});

async function queueOn(options: QueueManagerOptions = {}): Promise<QueueManager> {
  const manager = await createQueueManager({ redis: redis.url, namespace: redis.prefix(), ...options });
  manager.on('error', () => {});
  open.push(manager);
  return manager;
}

async function outboxOf(manager: QueueManager, options: Partial<OutboxOptions> = {}): Promise<Outbox> {
  const outbox = await createOutbox({ manager, database: pool, ...options });
  open.push(outbox);
  return outbox;
}

async function transaction(work: (client: PoolClient) => Promise<unknown>): Promise<void> {
  const client = await pool.connect();
  try {
    await client.query('BEGIN');
    await work(client);
    await client.query('COMMIT');
  } catch (error) {
    await client.query('ROLLBACK');
    throw error;
  } finally {
    client.release();
  }
}

describe('a task in the outbox', () => {
  it('exists if and only if the transaction commits, and is moved at once, long before the next poll', async () => {
    const queue = await queueOn();
    const outbox = await outboxOf(queue, { pollInterval: '1h' });
    queue.registerTaskHandler('t', async (payload: unknown, { id }) => [payload, id]);
    await queue.startWorkers(2);
    const ids: string[] = [];
    await expect(
      transaction(async (client) => {
        ids.push((await outbox.enqueueTask(client, 't', 'rolled back')).id);
        throw new Error('no');
      }),
    ).rejects.toThrow('no');
    await transaction(async (client) => {
      const { id } = await outbox.enqueueTask(client, 't', { n: 1 }, { priority: 'high', queue: 'default' });
      ids.push(id);
      expect(await queue.getTask(id)).toBeUndefined();
    });
    const [never = '', committed = ''] = ids;
    await eventually(async () => expect((await queue.getTask(committed))?.state).toBe('completed'));
    expect(await queue.getTask(committed)).toMatchObject({ priority: 'high', result: [{ n: 1 }, committed] });
    expect(await queue.getTask(never)).toBeUndefined();
    expect(await outbox.counts()).toEqual({ pending: 0, rejected: 0 });
  });

  it('keeps its options: an id of its own, a delay from when it was written, an undefined payload', async () => {
    const queue = await queueOn();
    const outbox = await outboxOf(queue, { relay: false });
    const before = Date.now();
    await transaction(async (client) => {
      expect(await outbox.enqueueTask(client, 't', undefined, { id: 'mine', delay: '1h' })).toEqual({
        id: 'mine',
        duplicate: false,
      });
      expect((await outbox.enqueueTask(client, 't', 2, { id: 'mine' })).duplicate).toBe(true);
    });
    expect(await outbox.flush()).toBe(1);
    const record = await queue.getTask('mine');
    expect(record).toMatchObject({ state: 'delayed', payload: undefined });
    const delay = (record?.runAt?.getTime() ?? 0) - before;
    expect(delay).toBeGreaterThanOrEqual(3_600_000);
    expect(delay).toBeLessThan(3_610_000);
  });

  it('is refused before anything is written when it is bad', async () => {
    const queue = await queueOn({ payloadLimit: 100 });
    const outbox = await outboxOf(queue, { relay: false });
    const bad = [
      outbox.enqueueTask(pool, 't', 1, { priority: 'urgent' as 'high' }),
      outbox.enqueueTask(pool, 't', 'x'.repeat(200)),
      outbox.enqueueTask(pool, 't', 1n),
      outbox.enqueueTask(pool, 't', 1, { backoff: { strategy: () => 1 } }),
    ];
    const codes = await Promise.all(
      bad.map((one) => one.catch((error: unknown) => Reflect.get(Object(error), 'code'))),
    );
    expect(codes).toEqual([
      'INVALID_OPTION',
      'PAYLOAD_TOO_LARGE',
      'PAYLOAD_NOT_SERIALIZABLE',
      'INVALID_OPTION',
    ]);
    expect(await outbox.counts()).toEqual({ pending: 0, rejected: 0 });
    await expect(createOutbox({ manager: queue, database: pool, table: 'x; drop' })).rejects.toMatchObject({
      code: 'INVALID_OPTION',
    });
    await expect(createOutbox({ manager: queue, database: {} as Pool })).rejects.toMatchObject({
      code: 'INVALID_OPTION',
    });
  });

  it('that the queue will never take is set aside with the reason, and holds up nobody', async () => {
    const generous = await queueOn();
    const strict = await queueOn({ payloadLimit: 100 });
    const writer = await outboxOf(generous, { relay: false });
    for (const payload of ['small', 'x'.repeat(200), 'also small'])
      await writer.enqueueTask(pool, 't', payload);
    const logger = recordingLogger();
    const reader = await outboxOf(strict, { relay: false, logger });
    expect(await reader.flush()).toBe(3);
    expect(await reader.counts()).toEqual({ pending: 0, rejected: 1 });
    expect((await strict.inspectQueues(['default']))[0]?.states.waiting).toBe(2);
    expect(await postgres.psql('SELECT rejected FROM xiaoke_outbox')).toMatch(/^PAYLOAD_TOO_LARGE/);
    expect(logger.lines.some(({ level }) => level === 'error')).toBe(true);
  });

  it('is moved once, however many relays there are', async () => {
    const queue = await queueOn();
    const runs = new Map<number, number>();
    queue.registerTaskHandler('t', async (n: number) => void runs.set(n, (runs.get(n) ?? 0) + 1));
    await queue.startWorkers(10);
    const outboxes = await Promise.all([1, 2, 3].map(() => outboxOf(queue, { pollInterval: 20, batch: 7 })));
    for (let n = 0; n < 200; n += 1) await outboxes[0]?.enqueueTask(pool, 't', n);
    await eventually(() => expect(runs.size).toBe(200), { timeout: 15_000 });
    expect([...runs.values()].every((times) => times === 1)).toBe(true);
  });

  it('waits while Redis is down, and is moved when it is back', async () => {
    await using own = await startRedis({ appendonly: 'always' });
    const queue = await queueOn({ redis: own.url, enqueueTimeout: 300 });
    const logger = recordingLogger();
    const outbox = await outboxOf(queue, { pollInterval: 50, logger });
    await own.kill();
    const { id } = await outbox.enqueueTask(pool, 't', 1);
    await eventually(() => expect(logger.lines.some(({ level }) => level === 'warn')).toBe(true));
    expect((await outbox.counts()).pending).toBe(1);
    await own.restart();
    await eventually(async () => expect((await queue.getTask(id))?.state).toBe('waiting'), {
      timeout: 15_000,
    });
    await eventually(async () => expect((await outbox.counts()).pending).toBe(0));
  });

  it('may lie in a database with transactions of its own, as PGlite has', async () => {
    const queue = await queueOn();
    const database = {
      query: (text: string, values?: unknown[]) => pool.query(text, values),
      transaction: async <T>(work: (client: PoolClient) => Promise<T>): Promise<T> => {
        let result: T | undefined;
        await transaction(async (client) => (result = await work(client)));
        return result as T;
      },
    };
    const outbox = await outboxOf(queue, { database, pollInterval: 20 });
    await database.transaction((client) => outbox.enqueueTask(client, 't', 1));
    await eventually(async () => expect((await queue.inspectQueues(['default']))[0]?.states.waiting).toBe(1));
  });

  it('survives PostgreSQL: its relay listens again after the server was killed', async () => {
    const queue = await queueOn();
    const outbox = await outboxOf(queue, { pollInterval: 100 });
    await outbox.enqueueTask(pool, 't', 1);
    await eventually(async () => expect((await outbox.counts()).pending).toBe(0));
    await postgres.restart();
    await eventually(() => outbox.enqueueTask(pool, 't', 2), { timeout: 15_000 });
    await eventually(async () => expect((await outbox.counts()).pending).toBe(0), { timeout: 15_000 });
    expect((await queue.inspectQueues(['default']))[0]?.states.waiting).toBe(2);
  });

  it('is neither lost nor doubled when relays are killed while they move', async () => {
    const namespace = redis.prefix();
    const queue = await queueOn({ namespace });
    const runs = new Map<number, number>();
    queue.registerTaskHandler('t', async (n: number) => void runs.set(n, (runs.get(n) ?? 0) + 1));
    await queue.startWorkers(10);
    const outbox = await outboxOf(queue, { relay: false });
    for (let n = 0; n < 400; n += 1) await outbox.enqueueTask(pool, 't', n);
    for (let round = 0; round < 3; round += 1) {
      await using relay = spawnNode(RELAY, { args: [redis.url, namespace, postgres.url] });
      await relay.message(({ kind }) => kind === 'ready', 30_000);
      await relay.kill('SIGKILL');
    }
    // The server rolls back what a dead client had begun.
    await eventually(
      async () => {
        await outbox.flush();
        expect(runs.size).toBe(400);
      },
      { timeout: 20_000 },
    );
    expect([...runs.values()].every((times) => times === 1)).toBe(true);
    // Three processes are started one after the other.
  }, 90_000);
});
