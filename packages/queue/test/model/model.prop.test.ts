import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import fc from 'fast-check';
import { systemClock } from '@xiaoke/core';
import { openRedis, type RedisConnection, type RedisLike } from '@xiaoke/core/redis';
import { sharedRedis } from '@xiaoke/test-servers';
import type { Backend, Claim, Outcome, Session, Settlement } from '../../src/backend.ts';
import { decodeEnvelope, linksOf } from '../../src/envelope.ts';
import { MemoryBackend } from '../../src/memory/memory-backend.ts';
import { resolveQueueOptions } from '../../src/options.ts';
import { BackoffFunctions, Producer } from '../../src/producer.ts';
import { RedisBackend } from '../../src/redis/redis-backend.ts';
import { scripts } from '../../src/redis/scripts.ts';
import type { RawReply } from '../../src/redis/turn-reply.ts';
import { noTracing } from '../../src/tracing.ts';
import { QueueModel, type ModelOutcome } from './queue-model.ts';
import { listener } from '../silent-listener.ts';

const NIGHTLY = process.env['XIAOKE_CHAOS'] === 'nightly';

const queues = fc.constantFrom('a', 'b');
const numbers = fc.integer({ min: 0, max: 11 });
const enqueue = fc.record({
  kind: fc.constant('enqueue' as const),
  id: numbers,
  queue: queues,
  priority: fc.constantFrom('high' as const, 'normal' as const, 'low' as const),
  delayed: fc.boolean(),
  unique: fc.option(
    fc.record({ key: fc.constantFrom('k', 'l'), mode: fc.constantFrom('reject', 'replace', 'throttle') }),
  ),
  group: fc.option(
    fc.record({ key: fc.constantFrom('g', 'h'), concurrency: fc.integer({ min: 1, max: 2 }) }),
  ),
});
const operations = fc.oneof(
  { weight: 5, arbitrary: enqueue },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('turn' as const),
      queue: queues,
      want: fc.integer({ min: 0, max: 3 }),
      /** Which claim of this queue is settled, and how; none when there is no such claim. */
      settle: fc.option(
        fc.record({
          index: numbers,
          outcome: fc.constantFrom('completed', 'retry', 'retry later', 'dead', 'return'),
          stale: fc.boolean(),
        }),
      ),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('cancel' as const), id: numbers }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('revive' as const), id: numbers }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('purge' as const), id: numbers }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('pause' as const), queue: queues, paused: fc.boolean() }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('drain' as const), queue: queues, delayed: fc.boolean() }),
  },
);
type Operation = typeof operations extends fc.Arbitrary<infer T> ? T : never;

const outcomes: Readonly<Record<ModelOutcome, Outcome>> = {
  completed: { kind: 'completed', result: '1', keepMs: 3_600_000 },
  retry: { kind: 'retry', delayMs: 0, counted: true, error: '{}' },
  'retry later': { kind: 'retry', delayMs: 3_600_000, counted: true, error: '{}' },
  dead: { kind: 'dead', error: '{"reason":"NON_RETRYABLE"}', keepMs: 0, counted: true },
  return: { kind: 'return' },
};

/** One run of operations on a backend and on the model, compared after every step. */
class Comparison {
  readonly #backend: Backend;
  readonly #session: Session;
  readonly #producer: Producer;
  readonly #prefix: string;
  readonly #model = new QueueModel();
  readonly #claims = new Map<string, Claim>();
  readonly #ids = new Set<string>();
  #step = 0;

  constructor(backend: Backend, session: Session, prefix: string) {
    this.#backend = backend;
    this.#session = session;
    this.#prefix = prefix;
    const options = resolveQueueOptions();
    this.#producer = new Producer(options, backend, new BackoffFunctions(options.defaults), noTracing);
  }

  async run(list: readonly Operation[]): Promise<void> {
    for (const operation of list) {
      this.#step += 1;
      await this.#apply(operation);
      await this.#compare();
    }
    await this.#drainClaims();
  }

  async #apply(operation: Operation): Promise<void> {
    const model = this.#model;
    switch (operation.kind) {
      case 'enqueue':
        await this.#enqueue(operation);
        return;
      case 'turn':
        await this.#turn(operation);
        return;
      case 'cancel': {
        const id = this.#name(operation.id);
        expect(await this.#backend.cancel(id, 'why')).toBe(model.cancel(id));
        return;
      }
      case 'revive': {
        const id = this.#name(operation.id);
        expect(await this.#backend.retryDead([id])).toBe(model.revive(id));
        return;
      }
      case 'purge': {
        const id = this.#name(operation.id);
        expect(await this.#backend.purgeDead([id])).toBe(model.purge(id));
        return;
      }
      case 'pause': {
        const queue = this.#name(operation.queue);
        await this.#backend.setPaused(queue, operation.paused);
        if (operation.paused) model.paused.add(queue);
        else model.paused.delete(queue);
        return;
      }
      case 'drain': {
        const queue = this.#name(operation.queue);
        expect(await this.#backend.drain(queue, operation.delayed)).toBe(
          model.drain(queue, operation.delayed),
        );
      }
    }
  }

  async #enqueue(operation: Extract<Operation, { kind: 'enqueue' }>): Promise<void> {
    const { unique, group } = operation;
    const id = this.#name(operation.id);
    this.#ids.add(id);
    const task = this.#producer.prepareNow({
      name: 'task',
      payload: this.#step,
      options: {
        id,
        queue: this.#name(operation.queue),
        priority: operation.priority,
        ...(operation.delayed ? { delay: '1h' } : {}),
        ...(unique === null
          ? {}
          : {
              unique: {
                key: this.#name(unique.key),
                mode: unique.mode,
                ...(unique.mode === 'throttle' ? { for: '1h' } : {}),
              },
            }),
        ...(group === null ? {} : { group: { key: this.#name(group.key), concurrency: group.concurrency } }),
      },
    });
    const wanted = this.#model.enqueue(task);
    expect(await this.#backend.enqueue([task])).toEqual([wanted]);
  }

  async #turn({ queue: name, want, settle }: Extract<Operation, { kind: 'turn' }>): Promise<void> {
    const queue = this.#name(name);
    const own = [...this.#claims.values()].filter(({ blob }) => decodeEnvelope(blob).queue === queue);
    const claim = settle === null ? undefined : own[settle.index % Math.max(1, own.length)];
    const settlements: Settlement[] = [];
    const lost: string[] = [];
    if (claim !== undefined && settle !== null) {
      const envelope = decodeEnvelope(claim.blob);
      settlements.push({
        id: claim.id,
        token: settle.stale ? claim.token - 1 : claim.token,
        priority: envelope.priority,
        outcome: outcomes[settle.outcome],
        links: linksOf(envelope),
        repeated: true,
      });
      if (settle.stale) lost.push(claim.id);
      else {
        this.#claims.delete(claim.id);
        this.#model.settle(claim.id, settle.outcome);
      }
    }
    const reply = await this.#session.turn(queue, { settlements, want, quotas: [] });
    expect(reply.lost).toEqual(lost);
    expect(reply.claims.map(({ id }) => id)).toEqual(this.#model.claim(queue, want));
    for (const got of reply.claims) {
      expect(got.blob).toBe(this.#model.tasks.get(got.id)?.blob);
      expect(got.attempts).toBe(this.#model.tasks.get(got.id)?.attempts);
      this.#claims.set(got.id, got);
    }
  }

  async #compare(): Promise<void> {
    const ids = [...this.#ids];
    const stored = await this.#backend.read(ids);
    for (const [index, id] of ids.entries()) {
      const { state, attempts, blob } = this.#model.tasks.get(id) ?? {};
      const actual = stored[index];
      expect({ id, state: actual?.state, attempts: actual?.attempts, blob: actual?.blob }).toEqual({
        id,
        state,
        attempts,
        blob,
      });
    }
    const names = ['a', 'b'].map((queue) => this.#name(queue));
    const counts = await this.#backend.counts(names);
    for (const [index, queue] of names.entries())
      expect(counts[index]).toMatchObject(this.#model.counts(queue));
  }

  /** Every claim ends well, so that the session is clean for the next run. */
  async #drainClaims(): Promise<void> {
    for (const queue of ['a', 'b'] as const) await this.#apply({ kind: 'pause', queue, paused: true });
    while (this.#claims.size > 0) {
      for (const queue of ['a', 'b'] as const)
        await this.#apply({
          kind: 'turn',
          queue,
          want: 0,
          settle: { index: 0, outcome: 'completed', stale: false },
        });
    }
    await this.#compare();
  }

  #name(part: string | number): string {
    return `${this.#prefix}${part}`;
  }
}

let close: () => Promise<void> = async () => {};
const backends: Record<string, Backend> = {};

beforeAll(async () => {
  const redis = await sharedRedis();
  const options = resolveQueueOptions({ redis: redis.url, namespace: redis.prefix(), maxLogLines: 10 });
  const connect = async (): Promise<RedisConnection> =>
    await openRedis(options.redis, { load: async () => await import('ioredis') });
  backends['Redis'] = new RedisBackend(options, await connect());
  const again = { ...options, namespace: redis.prefix() };
  backends['twice'] = new RedisBackend(again, sentTwice(await connect()));
  backends['memory'] = new MemoryBackend({ ...options, clock: systemClock });
  close = async () => {
    for (const backend of Object.values(backends)) await backend.close(500);
  };
});

afterAll(() => close());

let repetitions = 0;

/**
 * A connection that runs every script twice, as one whose answer was lost does. What counts is the second answer to what is
 * repeated to learn its outcome, and the first to what is counted.
 */
function sentTwice(connection: RedisConnection): RedisConnection {
  const named = (...ones: readonly { sha: string; source: string }[]): ReadonlySet<string> =>
    new Set(ones.flatMap(({ sha, source }) => [sha, source]));
  const turns = named(scripts.turn, scripts.turnPlain);
  const repeatable = named(scripts.turn, scripts.turnPlain, scripts.add, scripts.addPlain);
  const twice = async (script: string, send: () => Promise<unknown>): Promise<unknown> => {
    repetitions += 1;
    const first = await send();
    const second = await send();
    if (!repeatable.has(script)) return first;
    if (!turns.has(script)) return second;
    // Which settlements were refused is told once.
    const [said, ids = '', blobs = '', , ...more] = second as RawReply;
    return [said, ids, blobs, (first as RawReply)[3] ?? [], ...more];
  };
  const wrap = (client: RedisLike): RedisLike =>
    new Proxy(client, {
      get(target, key) {
        if (key === 'evalsha')
          return (sha: string, keys: number, ...rest: string[]) =>
            twice(sha, () => target.evalsha(sha, keys, ...rest));
        if (key === 'call')
          return (command: string, ...rest: string[]) => {
            const send = (): Promise<unknown> => target.call(command, ...rest);
            return command === 'EVAL' ? twice(String(rest[0]), send) : send();
          };
        const value: unknown = Reflect.get(target, key);
        return typeof value === 'function' ? (value as (...args: unknown[]) => unknown).bind(target) : value;
      },
    });
  return new Proxy(connection, {
    get(target, key) {
      if (key === 'duplicate') return (options: never) => wrap(target.duplicate(options));
      const value: unknown = Reflect.get(target, key);
      return typeof value === 'function' ? (value as (...args: unknown[]) => unknown).bind(target) : value;
    },
  });
}

describe.each([
  ['memory', 'memory', 500],
  ['Redis', 'Redis', 120],
  ['Redis backend with every script run twice, as after a lost answer: the Redis', 'twice', 60],
] as const)('the %s backend', (_title, name, runs) => {
  it(
    'does what the model does, whatever is enqueued, claimed, settled, cancelled, revived, paused and drained',
    async () => {
      const backend = backends[name];
      if (backend === undefined) throw new Error('no backend');
      const session = backend.session(0, 10, ['a', 'b'], listener);
      let round = 0;
      await fc.assert(
        fc.asyncProperty(fc.array(operations, { minLength: 1, maxLength: 40 }), async (list) => {
          round += 1;
          await new Comparison(backend, session, `r${round}.`).run(list);
        }),
        { numRuns: NIGHTLY ? runs * 20 : runs },
      );
      await session.close(500);
      expect(repetitions).toBeGreaterThan(name === 'twice' ? runs : -1);
    },
    NIGHTLY ? 600_000 : 60_000,
  );
});
