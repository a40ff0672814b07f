import type { CheckOutcome } from '../check-result.ts';
import type { CheckContext } from '../checker.ts';
import type { DatabaseCheckerOptions, DatabaseProbe } from './database.ts';
import { DRIVER_MISSING, driverFailure, isMissingModule } from './driver.ts';

/** The part of a mongodb client that is used. */
export interface MongoClientLike {
  db(name?: string): { command(command: object, options?: object): Promise<object> };
  close(force?: boolean): Promise<void>;
}

/** Whether `target` looks like a mongodb client. */
export function isMongoClient(target: unknown): target is MongoClientLike {
  return typeof target === 'object' && target !== null && 'db' in target && typeof target.db === 'function';
}

const AUTH: ReadonlySet<unknown> = new Set([18, 13, 8000]);

/** Looks at MongoDB. Only the driver's `signal` bounds a command; its `timeoutMS` has no effect. */
export class MongoProbe implements DatabaseProbe {
  readonly database = 'mongodb';
  readonly #target: string | MongoClientLike;
  readonly #options: DatabaseCheckerOptions;
  #own: MongoClientLike | undefined;

  constructor(target: string | MongoClientLike, options: DatabaseCheckerOptions) {
    this.#target = target;
    this.#options = options;
  }

  async check({ signal, timeoutMs, phase }: CheckContext): Promise<CheckOutcome> {
    try {
      phase('connect');
      const client = await this.#client(timeoutMs);
      phase('command');
      return this.#judge(await this.#hello(client, signal));
    } catch (error) {
      return isMissingModule(error) ? DRIVER_MISSING : driverFailure(error, AUTH);
    }
  }

  async close(): Promise<void> {
    await this.#own?.close(true);
    this.#own = undefined;
  }

  /** The driver repeats no command, and one that meets an election fails though all is well a moment later. */
  async #hello(client: MongoClientLike, signal: AbortSignal): Promise<Record<string, unknown>> {
    const ask = async (): Promise<Record<string, unknown>> => {
      const options = { signal, readPreference: 'primaryPreferred' };
      return (await client.db().command({ hello: 1 }, options)) as Record<string, unknown>;
    };
    try {
      return await ask();
    } catch (error) {
      if (signal.aborted) throw error;
      return await ask();
    }
  }

  async #client(timeoutMs: number): Promise<MongoClientLike> {
    if (typeof this.#target !== 'string') return this.#target;
    if (this.#own !== undefined) return this.#own;
    const { MongoClient } = await import('mongodb');
    const options = {
      serverSelectionTimeoutMS: timeoutMs,
      connectTimeoutMS: timeoutMs,
      maxPoolSize: 1,
      minPoolSize: 0,
    };
    this.#own = new MongoClient(this.#target, options) as unknown as MongoClientLike;
    return this.#own;
  }

  #judge(hello: Readonly<Record<string, unknown>>): CheckOutcome {
    const primary = hello['isWritablePrimary'] === true || hello['ismaster'] === true;
    const observed = {
      primary,
      ...(typeof hello['setName'] === 'string' ? { setName: hello['setName'] } : {}),
    };
    if (primary) return { status: 'healthy', observed };
    const readable = hello['secondary'] === true && this.#options.require === 'readable';
    return readable
      ? { status: 'degraded', code: 'NO_PRIMARY', observed }
      : { status: 'unhealthy', code: 'NO_PRIMARY', observed };
  }
}
