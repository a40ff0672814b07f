import { fileURLToPath } from 'node:url';

import type { ServerProcess } from '../server-process.ts';
import { startServer } from '../start-server.ts';

/** How {@link startMongo} runs the server. */
export interface MongoOptions {
  /** A fixed port. @default a free one */
  readonly port?: number;
}

/** A private standalone server that speaks MongoDB's wire protocol. */
export interface MongoServer extends ServerProcess {
  /** `mongodb://127.0.0.1:<port>/test` */
  readonly url: string;
}

/**
 * Starts a private server of MongoDB's wire protocol, in about half a second.
 *
 * Debian has no `mongod`: this is smartmongo's CongoServer in a process of its own, so that it can be paused and killed.
 * The official driver does CRUD, indexes and commands against it. It is standalone, keeps its data in memory (a kill
 * loses them), takes an `_id` only when it is an ObjectId, and knows neither users nor TLS. States of a replica set: {@link startMongoReplicaSet}.
 *
 * @example
 * ```ts
 * await using mongo = await startMongo();
 * await using client = await new MongoClient(mongo.url).connect();
 * ```
 */
export async function startMongo(options: MongoOptions = {}): Promise<MongoServer> {
  const script = fileURLToPath(new URL('../../bin/mongo-server.mjs', import.meta.url));
  const server = await startServer({
    name: 'mongo',
    port: options.port,
    plan: ({ port }) => ({
      command: process.execPath,
      args: ['--no-warnings', script, String(port)],
      env: { NODE_OPTIONS: '' },
      isReady: ({ log }) => log().includes(`listening on ${port}`),
    }),
  });
  return Object.assign(server, { url: `mongodb://${server.host}:${server.port}/test` });
}
