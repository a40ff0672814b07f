import { randomBytes } from 'node:crypto';
import { toMilliseconds, withTimeout, type CloseOptions, type HealthIndication } from '@xiaoke/core';
import { openRedis, RedisScript, type RedisLike, type RedisOption } from '@xiaoke/core/redis';
import type { Place } from '../capture.ts';
import { stampOf } from '../codec/record.ts';
import type { Serialized } from '../codec/serializer.ts';
import { ValueCodec } from '../codec/value-codec.ts';
import type { CoarseTime } from '../coarse-time.ts';
import type { Counter, CounterRegistry } from '../counters.ts';
import type { Lifetime } from '../lifetime.ts';
import type { ResolvedCacheOptions } from '../options.ts';
import type { Scope } from '../scope.ts';
import type {
  Claim,
  ClaimRequest,
  Draft,
  Receiver,
  SecondTier,
  SecondTierListener,
  WriteOutcome,
} from '../second-tier.ts';
import type { Tally } from '../stats.ts';
import { Backplane } from './backplane.ts';
import { byPath, portions } from './batch.ts';
import { AwayError, Gate } from './gate.ts';
import { Journal } from './journal.ts';
import { RedisKeys, type EntryKeys } from './keys.ts';
import { ownClientOptions } from './own-client.ts';
import { Reader } from './reader.ts';
import { EntryRead, Records, type Encoded } from './records.ts';
import { RedisLease } from './redis-lease.ts';
import { ServerTime } from './server-time.ts';
import { SharedCounters } from './shared-counters.ts';
import { heartbeatScript, leaseScript, removeScript, setScript } from './scripts.generated.ts';

/** What the tier needs of the cache it belongs to. */
export interface RedisTierParts {
  readonly listener: SecondTierListener;
  readonly tally: Tally;
  readonly time: CoarseTime;
  readonly counters: CounterRegistry;
  readonly root: Scope;
}

const LEASE = new RedisScript(leaseScript.source);
const SET = new RedisScript(setScript.source);
const REMOVE = new RedisScript(removeScript.source);
const HEARTBEAT = new RedisScript(heartbeatScript.source);

// A write that Redis gets to later than this after its writer gave up must have no effect; see set.lua.
const WRITE_GRACE = 500;
const LONGEST_LIFE = 315_360_000_000;
const DAY = 86_400_000;

/** The second tier on Redis. docs/adr tells the layout of its keys and why its steps come in this order. */
export class RedisTier implements SecondTier {
  readonly #options: ResolvedCacheOptions;
  readonly #parts: RedisTierParts;
  readonly #keys: RedisKeys;
  readonly #gate: Gate;
  readonly #reader: Reader;
  readonly #codec: ValueCodec;
  readonly #records: Records;
  readonly #journal: Journal;
  readonly #backplane: Backplane;
  readonly #time: ServerTime;
  readonly #shared: SharedCounters;
  readonly #leases = new Set<RedisLease>();

  constructor(redis: RedisOption, options: ResolvedCacheOptions, parts: RedisTierParts) {
    this.#options = options;
    this.#parts = parts;
    this.#keys = new RedisKeys(options.namespace);
    this.#time = new ServerTime(
      () => parts.time.exact(),
      () => parts.time.now(),
    );
    this.#gate = this.#createGate(redis);
    this.#reader = new Reader(this.#gate);
    this.#journal = new Journal(options.maxPendingInvalidations, parts.root.generation);
    this.#shared = new SharedCounters({
      gate: this.#gate,
      keys: this.#keys,
      reader: this.#reader,
      time: parts.time,
    });
    this.#codec = new ValueCodec({
      ...options,
      onCompressed: (before, after) => {
        parts.tally.compressedIn += before;
        parts.tally.compressedOut += after;
      },
    });
    this.#records = new Records({
      codec: this.#codec,
      time: this.#time,
      shared: this.#shared,
      counters: parts.counters,
      onReject: (place, reason) => {
        parts.tally.rejected += 1;
        parts.listener.onFailure('decode');
        parts.listener.onReject(place, reason);
      },
    });
    this.#backplane = new Backplane({
      ...options,
      keys: this.#keys,
      listener: parts.listener,
      readSequence: () => this.#heartbeat(),
      onGap: (first) => parts.listener.onGap(first),
    });
    void this.#start();
  }

  get state(): 'connecting' | 'up' | 'down' {
    return this.#gate.state;
  }

  get pending(): number {
    return this.#journal.size;
  }

  serialize(value: unknown): Serialized {
    return this.#codec.serialize(value);
  }

  async ready(timeout: number): Promise<boolean> {
    const deadline = this.#time.exact() + timeout;
    while (!(await this.#gate.opened(Math.max(0, deadline - this.#time.exact())))) {
      if (this.#time.exact() >= deadline) return false;
    }
    const listening = this.#backplane.listening.then(() => true);
    const { clock } = this.#options;
    return withTimeout(listening, Math.max(0, deadline - this.#time.exact()), 'Listening', { clock }).catch(
      () => false,
    );
  }

  read(place: Place, receiver: Receiver): void {
    this.#reader.read(new EntryRead(this.#keys.entry(place), place, this.#records, receiver));
  }

  async claim({ place, tags, lifetime, known }: ClaimRequest): Promise<Claim> {
    const keys = this.#keys.of(place);
    const token = randomBytes(12).toString('base64url');
    let refused = known === undefined ? '' : stampOf(known.source);
    try {
      // Before the loader runs: what is invalidated from here on must make its value old.
      await this.#ensure(place, tags, lifetime);
      for (;;) {
        const reply = await this.#ask(keys, token, refused);
        if (reply[0] === 2) return { kind: 'lease', lease: this.#lease(keys, token) };
        if (reply[0] !== 1) return { kind: 'busy' };
        const found = await this.#records.find(place, reply[1]);
        if (found !== undefined) return { kind: 'found', found };
        refused = stampOf(reply[1]);
      }
    } catch {
      return { kind: 'alone' };
    }
  }

  async write(drafts: readonly Draft[]): Promise<readonly WriteOutcome[]> {
    const outcomes: WriteOutcome[] = [];
    // In portions, so that the last of many does not look late.
    for (const some of portions(drafts))
      outcomes.push(...(await Promise.all(some.map((draft) => this.#write(draft)))));
    const done = drafts.filter((_, i) => outcomes[i] === 'stored' || outcomes[i] === 'skipped');
    await this.#tell(done.map(({ place }) => place));
    return outcomes;
  }

  async remove(places: readonly Place[]): Promise<readonly boolean[]> {
    const answers: boolean[] = [];
    for (const some of portions(places)) answers.push(...(await this.#removeSome(some)));
    return answers;
  }

  async #removeSome(places: readonly Place[]): Promise<readonly boolean[]> {
    try {
      const removed = this.#gate.run('invalidate', (client) =>
        Promise.all(places.map((place) => this.#remove(client, place))),
      );
      // One connection keeps the order, so the message need not wait for the answer; a Cluster has many.
      if (this.#gate.connection?.cluster === true) await removed;
      const [answers] = await Promise.all([removed, this.#tell(places)]);
      return answers;
    } catch {
      this.#postpone(places, []);
      return places.map(() => false);
    }
  }

  async invalidate(counters: readonly Counter[]): Promise<void> {
    try {
      await this.#gate.run('invalidate', async (client) => {
        await this.#backplane.tellCounters(client, await this.#shared.bump(client, counters));
      });
    } catch {
      this.#postpone([], counters);
    }
  }

  touch(place: Place, life: number): void {
    if (this.#gate.state !== 'up') return;
    this.#gate
      .run('renew', (client) => client.call('PEXPIRE', this.#keys.entry(place), Math.ceil(life)))
      .catch(() => {});
  }

  async health(): Promise<HealthIndication> {
    if (this.state === 'connecting') await this.#gate.opened(this.#options.redisTimeout);
    if (this.#journal.size > 0) return { status: 'degraded', code: 'CACHE_INVALIDATIONS_PENDING' };
    return this.state === 'up' ? { status: 'healthy' } : { status: 'degraded', code: 'CACHE_REDIS_AWAY' };
  }

  async close(options: CloseOptions = {}): Promise<void> {
    this.#backplane.close();
    for (const lease of this.#leases) lease.stopRenewing();
    await this.#gate.close(toMilliseconds(options.timeout ?? 1_000, 'timeout'));
  }

  async #start(): Promise<void> {
    await this.#gate.start();
    const { connection } = this.#gate;
    if (connection !== undefined) this.#backplane.start(connection);
  }

  #createGate(redis: RedisOption): Gate {
    const { clock, random, redisTimeout, logger } = this.#options;
    const { tally, listener } = this.#parts;
    return new Gate({
      clock,
      random,
      timeout: redisTimeout,
      open: () =>
        openRedis(redis, {
          load: () => import('ioredis'),
          overrides: ownClientOptions(random),
          logger,
          random,
        }),
      recover: (client) => this.#recover(client),
      onState: (state, reason) => {
        if (state === 'down')
          logger.warn({ cache: this.#options.name, reason }, 'the cache goes on without redis');
        // What was said while it was away was not heard.
        if (state === 'up') void this.#backplane.check();
        listener.onState(state, reason);
      },
      onTimeout: (op) => {
        tally.timeouts += 1;
        listener.onFailure(op);
      },
      onError: (error, op) => {
        tally.errors += 1;
        listener.onFailure(op);
        logger.debug({ err: error }, 'a redis command of the cache failed');
      },
    });
  }

  // Before anything is read again: what this process invalidated meanwhile, and what it did not hear.
  async #recover(client: RedisLike): Promise<void> {
    const sentAt = this.#time.exact();
    this.#time.set(await this.#gate.answer(client.call('TIME')), sentAt);
    while (this.#journal.size > 0) {
      const waiting = this.#journal.take();
      try {
        await this.#gate.answer(this.#replay(client, waiting.places, waiting.counters));
      } catch (error) {
        this.#journal.putBack(waiting);
        throw error;
      }
    }
  }

  async #replay(client: RedisLike, places: readonly Place[], counters: readonly Counter[]): Promise<void> {
    await Promise.all(places.map((place) => this.#remove(client, place)));
    await Promise.all(byPath(places).map(([path, keys]) => this.#backplane.tellKeys(client, path, keys)));
    if (counters.length === 0) return;
    const versions = await this.#shared.bump(client, counters);
    await this.#backplane.tellCounters(client, versions);
  }

  async #heartbeat(): Promise<number> {
    const sentAt = this.#time.exact();
    const reply = await this.#gate.run('heartbeat', (client) =>
      HEARTBEAT.run(client, [this.#keys.sequence], []),
    );
    if (!Array.isArray(reply)) return 0;
    this.#time.set(reply.slice(1), sentAt);
    return Number(reply[0]);
  }

  async #ask(keys: EntryKeys, token: string, known: string): Promise<[number, Buffer]> {
    const args = [token, this.#options.leaseTtl, Buffer.from(known, 'latin1')];
    const run = (client: RedisLike): Promise<unknown> =>
      LEASE.runBuffer(client, [keys.entry, keys.lease], args);
    // Granted after all, to one who has gone on alone: nobody else should wait for it.
    const late = (reply: unknown): void => {
      if (Array.isArray(reply) && reply[0] === 2) void this.#lease(keys, token).release();
    };
    return (await this.#gate.run('claim', run, late)) as [number, Buffer];
  }

  #lease(keys: EntryKeys, token: string): RedisLease {
    const { clock, leaseTtl } = this.#options;
    const lease = new RedisLease({
      gate: this.#gate,
      clock,
      leaseTtl,
      keys,
      token,
      encode: (draft) => this.#encode(draft),
      onEnd: (ended) => this.#leases.delete(ended),
    });
    this.#leases.add(lease);
    return lease;
  }

  /** Undefined when the value cannot be stored, which is counted and said once it happens. */
  async #encode(draft: Draft): Promise<Encoded | undefined> {
    let encoded: Encoded | undefined;
    try {
      encoded = await this.#records.encode(draft);
    } catch (error) {
      this.#options.logger.warn({ err: error, cache: this.#options.name }, 'a value stays out of redis');
    }
    if (encoded === undefined) this.#parts.tally.skipped += 1;
    return encoded;
  }

  async #write(draft: Draft): Promise<WriteOutcome> {
    const { place } = draft;
    const { redisTimeout } = this.#options;
    const { entry, lease: leaseKey } = this.#keys.of(place);
    try {
      await this.#ensure(place, draft.tags, draft.lifetime);
      const encoded = await this.#encode(draft);
      if (encoded === undefined) {
        await this.#gate.run('write', (client) => this.#remove(client, place));
        return 'skipped';
      }
      const deadline = Math.ceil(this.#time.now() + redisTimeout + WRITE_GRACE);
      const { bytes, life } = encoded;
      const stored = await this.#gate.run('write', (client) =>
        SET.run(client, [entry, leaseKey], [bytes, life, deadline]),
      );
      if (stored === 1) return 'stored';
    } catch (error) {
      if (error instanceof AwayError && error.refused && (await this.#clearAfterRefusal(place)))
        return 'skipped';
    }
    // Whether it was stored is not known, nor what was there before: neither must be read again.
    this.#postpone([place], []);
    return 'away';
  }

  // A Redis that is full takes no new value, but what was there before must not be read again.
  async #clearAfterRefusal(place: Place): Promise<boolean> {
    try {
      await this.#gate.run('write', (client) => this.#remove(client, place));
      this.#parts.tally.skipped += 1;
      return true;
    } catch {
      return false;
    }
  }

  async #remove(client: RedisLike, place: Place): Promise<boolean> {
    const { entry, lease: leaseKey } = this.#keys.of(place);
    return (await REMOVE.run(client, [entry, leaseKey])) === 1;
  }

  async #tell(places: readonly Place[]): Promise<void> {
    if (places.length === 0) return;
    await this.#gate.run('invalidate', (client) =>
      Promise.all(byPath(places).map(([path, keys]) => this.#backplane.tellKeys(client, path, keys))),
    );
  }

  /** Redis is not read again before it has been told. */
  #postpone(places: readonly Place[], counters: readonly Counter[]): void {
    this.#journal.addPlaces(places);
    this.#journal.addCounters(counters);
    this.#gate.shut('an invalidation has to be done again');
  }

  async #ensure(place: Place, tags: readonly Counter[], lifetime: Lifetime): Promise<void> {
    // A day on top bridges what the clocks of a failover may differ by.
    const life = Math.min(LONGEST_LIFE, lifetime.ttl + lifetime.staleIfError) + DAY;
    await this.#shared.ensure([...place.scope.generations, ...tags], life);
  }
}
