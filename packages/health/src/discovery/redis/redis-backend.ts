import { randomUUID } from 'node:crypto';
import { withTimeout, type Clock, type Logger } from '@xiaoke/core';
import {
  keyspace,
  RedisScript,
  RedisSubscriber,
  type RedisArgument,
  type RedisConnection,
  type RedisLike,
} from '@xiaoke/core/redis';
import type {
  BackendListener,
  BeatOutcome,
  RegistrationRecord,
  RegistryBackend,
  ServiceChange,
  ServiceState,
} from '../backend.ts';
import { beatScript, indexScript, leaveScript, putScript, readScript } from './scripts.generated.ts';

/** What the backend needs beside its connection. */
export interface RedisBackendOptions {
  readonly namespace: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly commandTimeoutMs: number;
}

const scripts = {
  put: new RedisScript(putScript.source),
  beat: new RedisScript(beatScript.source),
  leave: new RedisScript(leaveScript.source),
  read: new RedisScript(readScript.source),
  index: new RedisScript(indexScript.source),
};

/**
 * How a connection of the registry behaves. A command that cannot be sent now fails now: every one of ours is asked again by its
 * own rules. One that is not answered cuts the connection: a server that froze keeps it, also while it is being made, and only
 * a new one finds who took its place.
 */
export const impatient = (commandTimeoutMs: number): object => ({
  enableOfflineQueue: false,
  autoResendUnfulfilledCommands: false,
  maxRetriesPerRequest: 0,
  lazyConnect: true,
  noDelay: true,
  socketTimeout: commandTimeoutMs,
});

/** How long it is remembered that an instance said goodbye, in milliseconds. */
const GOODBYE_MS = 10 * 60_000;
/** How many leases one command renews at most: Redis does nothing else meanwhile. */
const BEAT_BATCH = 100;
const OUTCOMES: readonly BeatOutcome[] = ['unknown', 'renewed', 'replaced'];

/** Instances in one Redis: a single server, a Sentinel group or a Cluster, one slot a service. */
export class RedisBackend implements RegistryBackend {
  readonly #connection: RedisConnection;
  readonly #client: RedisLike;
  readonly #options: RedisBackendOptions;
  readonly #subscriber: RedisSubscriber;
  readonly #listening = new Map<string, () => Promise<void>>();
  /** Begun by whichever process writes first into an empty store. */
  readonly #epoch = randomUUID();
  #listener: BackendListener | undefined;

  constructor(connection: RedisConnection, options: RedisBackendOptions) {
    this.#connection = connection;
    // Beside a client that was handed in: a blocking command on it would hold the heartbeats up.
    this.#client = connection.owned
      ? connection.client
      : connection.duplicate(impatient(options.commandTimeoutMs));
    this.#options = options;
    this.#subscriber = new RedisSubscriber(connection, {
      clock: options.clock,
      logger: options.logger,
      onGap: () => this.#listener?.onGap(),
    });
  }

  async start(listener: BackendListener): Promise<void> {
    this.#listener = listener;
    this.#client.on('ready', () => listener.onGap());
    if (this.#client.status !== 'wait') return;
    await this.#bounded(this.#client.connect()).catch((error: unknown) =>
      this.#options.logger.warn({ err: error }, 'the registry cannot be reached yet'),
    );
  }

  async put(record: RegistrationRecord): Promise<number> {
    const { service, id, owner, ttlMs, body } = record;
    const version = await this.#ofService(scripts.put, service, [id, owner, ttlMs, body]);
    await this.#index(ttlMs, [service]);
    return Number(version);
  }

  async beat(records: readonly RegistrationRecord[]): Promise<readonly BeatOutcome[]> {
    const [first] = records;
    if (first === undefined) return [];
    const services = new Map<string, RegistrationRecord[]>();
    for (const record of records) {
      const known = services.get(record.service);
      if (known) known.push(record);
      else services.set(record.service, [record]);
    }
    // All of them leave in one write; their replies come together.
    const outcomes = new Map<RegistrationRecord, BeatOutcome>();
    const sent = [...services].map(async ([service, members]) => {
      const replies = await this.#beatService(service, members);
      members.forEach((member, at) => outcomes.set(member, OUTCOMES[Number(replies[at])] ?? 'unknown'));
    });
    sent.push(this.#index(first.ttlMs, [...services.keys()]).then(() => {}));
    await this.#bounded(Promise.all(sent));
    return records.map((record) => outcomes.get(record) ?? 'unknown');
  }

  async #beatService(service: string, records: readonly RegistrationRecord[]): Promise<readonly unknown[]> {
    const key = this.#keys(service);
    const keys = [key('o'), key('t')];
    const replies: unknown[] = [];
    for (let from = 0; from < records.length; from += BEAT_BATCH) {
      const batch = records.slice(from, from + BEAT_BATCH);
      const args = batch.flatMap(({ id, owner, ttlMs }) => [id, owner, ttlMs]);
      replies.push(scripts.beat.run(this.#client, keys, args));
    }
    return (await Promise.all(replies)).flat();
  }

  async leave({ service, id, owner }: Parameters<RegistryBackend['leave']>[0]): Promise<void> {
    const left = await this.#ofService(scripts.leave, service, [id, owner, GOODBYE_MS]);
    if (Number(left) === 0) await this.#bounded(this.#client.call('ZREM', this.#indexKey, service));
  }

  async read(service: string, known?: Parameters<RegistryBackend['read']>[1]): Promise<ServiceState> {
    const reply = await this.#ofService(scripts.read, service, [known?.epoch ?? '-', known?.version ?? -1]);
    return parseState(reply as StateReply);
  }

  async services(): Promise<readonly string[]> {
    return (await this.#index(0, [])).toSorted();
  }

  async listen(service: string): Promise<void> {
    if (this.#listening.has(service)) return;
    this.#listening.set(service, async () => {});
    const onMessage = (message: string): void => this.#listener?.onChange(parseChange(service, message));
    // Where the server is away, the listener stays and is subscribed once it is back.
    const subscribing = this.#subscriber.subscribe(this.#channel(service), onMessage);
    const unlisten = await this.#bounded(subscribing).catch(() => undefined);
    if (unlisten && this.#listening.has(service)) this.#listening.set(service, unlisten);
  }

  async unlisten(service: string): Promise<void> {
    const unlisten = this.#listening.get(service);
    this.#listening.delete(service);
    await this.#bounded(unlisten?.() ?? Promise.resolve()).catch(() => {});
  }

  async close(timeout: number): Promise<void> {
    this.#listener = undefined;
    this.#subscriber.close();
    await this.#connection.close(timeout);
  }

  async #index(ttlMs: number, names: readonly string[]): Promise<string[]> {
    const reply = await this.#bounded(scripts.index.run(this.#client, [this.#indexKey], [ttlMs, ...names]));
    return Array.isArray(reply) ? reply.map(String) : [];
  }

  #ofService(script: RedisScript, service: string, args: readonly RedisArgument[]): Promise<unknown> {
    const key = this.#keys(service);
    const keys = ['i', 'o', 't', 'l', 'm'].map(key);
    return this.#bounded(script.run(this.#client, keys, [this.#channel(service), this.#epoch, ...args]));
  }

  #bounded<T>(work: Promise<T>): Promise<T> {
    const { clock, commandTimeoutMs } = this.#options;
    return withTimeout(work, commandTimeoutMs, 'the registry', { clock, ref: false });
  }

  #keys(service: string): (suffix: string) => string {
    return keyspace(`${this.#options.namespace}:discovery`, service);
  }

  #channel(service: string): string {
    return this.#keys(service)('c');
  }

  get #indexKey(): string {
    return `${this.#options.namespace}:discovery:services`;
  }
}

type StateReply = readonly [
  epoch: string,
  version: string,
  wait: number,
  pairs?: readonly string[],
  departed?: readonly string[],
];

function parseState([epoch, version, wait, pairs, departed = []]: StateReply): ServiceState {
  const state = { epoch, version: Number(version), nextExpiryMs: wait < 0 ? undefined : wait };
  if (pairs === undefined) return { ...state, content: undefined };
  const records = [];
  for (let at = 0; at + 1 < pairs.length; at += 2)
    records.push({ id: pairs[at] ?? '', body: pairs[at + 1] ?? '' });
  return { ...state, content: { records, departed } };
}

function parseChange(service: string, message: string): ServiceChange {
  const [version = '', epoch = '', kind = '', id = '', ...rest] = message.split('\n');
  return {
    service,
    epoch,
    version: Number(version),
    kind: kind as ServiceChange['kind'],
    id,
    body: kind === 'put' ? rest.join('\n') : undefined,
  };
}
