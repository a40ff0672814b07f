import { withTimeout, type Clock, type Logger, type Random, type RedisOption } from '@xiaoke/core';
import {
  keyspace,
  openRedis,
  RedisScript,
  type Keyspace,
  type RedisArgument,
  type RedisConnection,
} from '@xiaoke/core/redis';
import { StoreUnavailableError } from '../errors.ts';
import type {
  CanaryReport,
  CommitOutcome,
  CommitRequest,
  ConfigStore,
  StoredCanary,
  StoredVersion,
  StoreHead,
  StoreListener,
  VersionMeta,
} from '../store.ts';
import { LogReader } from './log-reader.ts';
import {
  canaryEndScript,
  canaryReportScript,
  canaryStartScript,
  commitScript,
  readScript,
} from './scripts.generated.ts';

const READ = new RedisScript(readScript.source);
const COMMIT = new RedisScript(commitScript.source);
const CANARY_START = new RedisScript(canaryStartScript.source);
const CANARY_END = new RedisScript(canaryEndScript.source);
const CANARY_REPORT = new RedisScript(canaryReportScript.source);

const LOG_LENGTH = 256;
const REQUEST_SECONDS = 3_600;
// The log tells documents up to here; with its length, this bounds what it takes in Redis to 4 MiB.
const TOLD_LENGTH = 16_384;

/** What a store on Redis needs. */
export interface RedisStoreOptions {
  readonly redis: RedisOption;
  readonly namespace: string;
  readonly environment: string;
  readonly timeout: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

/**
 * Run-time values on Redis. One hash holds the head, so it is there whole or not at all; a stream wakes the readers, and
 * what they act on is always the head itself.
 */
export class RedisConfigStore implements ConfigStore {
  readonly name = 'redis';
  readonly #connection: RedisConnection;
  readonly #options: RedisStoreOptions;
  readonly #keys: Keyspace;
  #reader: LogReader | undefined;
  #last: StoreHead | undefined;
  /** The last log entry that a look at the head has taken into account. */
  #position = '0-0';
  #closed = false;

  private constructor(connection: RedisConnection, options: RedisStoreOptions) {
    this.#connection = connection;
    this.#options = options;
    this.#keys = keyspace('xc', `${options.namespace}:${options.environment}`);
  }

  static async open(options: RedisStoreOptions): Promise<RedisConfigStore> {
    const { redis, logger, random } = options;
    const load = async (): Promise<{ Redis: new (...args: never[]) => unknown }> => await import('ioredis');
    return new RedisConfigStore(await openRedis(redis, { load, logger, random }), options);
  }

  async read(): Promise<StoreHead | undefined> {
    const reply = await this.#script('read', READ, ['head', 'log'], [this.#last?.digest ?? '']);
    const [version = '', digest = '', document = '', trail = ''] = texts(reply);
    this.#position = texts(reply)[4] ?? '0-0';
    this.#reader?.moveTo(this.#position);
    if (version === '') return undefined;
    const known = this.#last?.digest === digest ? this.#last : undefined;
    const head = {
      version: Number(version),
      digest,
      document: known?.document ?? document,
      trail: parseTrail(trail),
    };
    this.#last = head;
    return head;
  }

  async commit(request: CommitRequest): Promise<CommitOutcome> {
    const { expected, document, digest, trail, meta, maxVersions } = request;
    const version = request.version ?? expected.version + 1;
    // What is put back has a trail of its own, which is read with the head.
    const told = request.version === undefined && document.length <= TOLD_LENGTH;
    const reply = await this.#script(
      'commit',
      COMMIT,
      ['head', 'versions', 'log', `request:${request.request}`],
      [
        expected.version,
        expected.digest,
        version,
        document,
        digest,
        JSON.stringify(trail),
        JSON.stringify(meta),
        maxVersions,
        LOG_LENGTH,
        REQUEST_SECONDS,
        told ? '1' : '0',
      ],
    );
    const [committed, current = '0'] = texts(reply);
    if (committed !== '1') return { outcome: 'conflict', currentVersion: Number(current) };
    this.#last = { version: Number(current), digest, document, trail };
    return { outcome: 'committed', version: Number(current) };
  }

  async history(): Promise<readonly StoredVersion[]> {
    const reply = await this.#call('history', 'HGETALL', this.#keys('versions'));
    const fields = fieldsOf(reply);
    const versions = [...fields.keys()].filter((field) => /^\d+$/.test(field)).map(Number);
    return versions
      .sort((a, b) => b - a)
      .map((version) => ({
        version,
        at: Number(fields.get(`${version}:at`) ?? 0),
        meta: parseMeta(fields.get(`${version}:meta`)),
      }));
  }

  async document(version: number): Promise<string | undefined> {
    const reply = await this.#call('document', 'HGET', this.#keys('versions'), String(version));
    return typeof reply === 'string' ? reply : undefined;
  }

  async canary(): Promise<{ canary: StoredCanary; reports: readonly CanaryReport[] } | undefined> {
    const canary = fieldsOf(await this.#call('canary', 'HGETALL', this.#keys('canary')));
    const [id, plan] = [canary.get('id'), canary.get('plan')];
    if (id === undefined || plan === undefined) return undefined;
    const reports = fieldsOf(await this.#call('canary', 'HGETALL', this.#keys('reports')));
    const startedAt = Number(canary.get('at') ?? 0);
    return {
      canary: { id, plan, startedAt },
      reports: [...reports.values()].map((text) => JSON.parse(text)),
    };
  }

  async startCanary(canary: Omit<StoredCanary, 'startedAt'>): Promise<boolean> {
    const keys = ['canary', 'reports', 'log'];
    return (await this.#script('canary', CANARY_START, keys, [canary.id, canary.plan, LOG_LENGTH])) === 1;
  }

  async endCanary(id: string): Promise<boolean> {
    return (await this.#script('canary', CANARY_END, ['canary', 'reports', 'log'], [id, LOG_LENGTH])) === 1;
  }

  async reportCanary(id: string, report: CanaryReport): Promise<void> {
    const args = [id, report.instance, JSON.stringify(report), LOG_LENGTH];
    await this.#script('canary', CANARY_REPORT, ['canary', 'reports', 'log'], args);
  }

  async follow(listener: StoreListener): Promise<void> {
    const { clock, random, logger } = this.#options;
    this.#reader = new LogReader({
      connection: this.#connection,
      key: this.#keys('log'),
      clock,
      random,
      logger,
      listener,
      from: this.#position,
    });
    this.#reader.start();
  }

  async close(timeout: number): Promise<void> {
    this.#closed = true;
    await this.#reader?.close();
    await this.#connection.close(Math.min(timeout, 1_000));
  }

  async #script(
    operation: string,
    script: RedisScript,
    keys: readonly string[],
    args: readonly RedisArgument[],
  ): Promise<unknown> {
    const full = keys.map((key) => this.#keys(key));
    return await this.#bounded(operation, () => script.run(this.#connection.client, full, args));
  }

  async #call(operation: string, command: string, ...args: string[]): Promise<unknown> {
    return await this.#bounded(operation, () => this.#connection.client.call(command, ...args));
  }

  async #bounded(operation: string, work: () => Promise<unknown>): Promise<unknown> {
    if (this.#closed) throw new StoreUnavailableError(operation, 'it is closed');
    const { timeout, clock } = this.#options;
    try {
      return await withTimeout(work(), timeout, operation, { clock, ref: false });
    } catch (error) {
      throw new StoreUnavailableError(operation, reasonOf(error));
    }
  }
}

/** Redis's own words, which name commands and keys; never arguments, which are the values. */
function reasonOf(error: unknown): string {
  const message = error instanceof Error ? error.message : 'unknown';
  return (/^[A-Z]{3,}\b/.exec(message)?.[0] ?? message).slice(0, 200);
}

function texts(reply: unknown): string[] {
  return Array.isArray(reply) ? reply.map(String) : [];
}

function fieldsOf(reply: unknown): Map<string, string> {
  const list = texts(reply);
  const fields = new Map<string, string>();
  for (let index = 0; index + 1 < list.length; index += 2)
    fields.set(list[index] ?? '', list[index + 1] ?? '');
  return fields;
}

function parseTrail(text: string): string[] {
  try {
    return texts(JSON.parse(text));
  } catch {
    return [];
  }
}

function parseMeta(text: string | undefined): VersionMeta {
  return text === undefined ? { kind: 'set', paths: [] } : (JSON.parse(text) as VersionMeta);
}
