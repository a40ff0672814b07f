import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { eventually } from '../eventually.ts';
import { findBinary } from '../find-binary.ts';
import { startServer } from '../start-server.ts';
import { redisCli, startRedis, type RedisServer } from './redis-server.ts';

/** How {@link startRedisSentinel} builds the group. */
export interface RedisSentinelOptions {
  /** How many sentinels watch; a majority of them must agree to a failover. @default 1 */
  readonly sentinels?: 1 | 2 | 3;
  /** Milliseconds without an answer after which the master counts as down. @default 500 */
  readonly downAfterMs?: number;
}

/** A private master with one replica, watched by sentinels. */
export interface RedisSentinel extends AsyncDisposable {
  /** What the sentinels call the master: `xiaoke`. */
  readonly name: string;
  /** The master and the replica of the beginning, in this order, whatever they are now. */
  readonly servers: readonly [RedisServer, RedisServer];
  readonly sentinels: readonly RedisServer[];
  /** The server that the first sentinel takes for the master now. */
  master(): Promise<RedisServer>;
  /** Makes the replica the master on command, and waits until it is. Returns the new master. */
  failover(): Promise<RedisServer>;
  /** Waits until another server than `old` is the master, as after `old.kill()`, and returns it. */
  masterOtherThan(old: RedisServer): Promise<RedisServer>;
  stop(): Promise<void>;
}

const NAME = 'xiaoke';

/** Starts a private Redis master, its replica and sentinels, in about two seconds. */
export async function startRedisSentinel(options: RedisSentinelOptions = {}): Promise<RedisSentinel> {
  const started: RedisServer[] = [];
  const keep = (server: RedisServer): RedisServer => {
    started.push(server);
    return server;
  };
  const stop = async (): Promise<void> => void (await Promise.all(started.map((server) => server.stop())));
  try {
    const first = keep(await startRedis());
    const replica = ['--replicaof', first.host, String(first.port), '--repl-diskless-sync-delay', '0'];
    const second = keep(await startRedis({ args: replica }));
    await eventually(async () => (await second.cli('INFO')).includes('master_link_status:up'), {
      what: 'the replica to follow',
    });
    const sentinels: RedisServer[] = [];
    for (let n = options.sentinels ?? 1; n > 0; n -= 1) {
      sentinels.push(keep(await startSentinel(first, options)));
    }
    // Redis looks every 10 s by itself, which is how long a demoted master would stay a master.
    const hurry = ['INFO-PERIOD', '500', 'PUBLISH-PERIOD', '200', 'ASK-PERIOD', '200'];
    await Promise.all(sentinels.map((sentinel) => sentinel.cli('SENTINEL', 'DEBUG', ...hurry)));
    await Promise.all(sentinels.map((sentinel) => knowsAll(sentinel, sentinels.length)));
    return sentinelGroup([first, second], sentinels, stop);
  } catch (error) {
    await stop();
    throw error;
  }
}

function sentinelGroup(
  servers: RedisSentinel['servers'],
  sentinels: readonly RedisServer[],
  stop: () => Promise<void>,
): RedisSentinel {
  const master = async (): Promise<RedisServer> => {
    const asked = sentinels.find((sentinel) => sentinel.running);
    const address = await asked?.cli('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', NAME);
    const port = Number(address?.split('\n')[1]);
    const found = servers.find((server) => server.port === port);
    if (found === undefined) throw new Error(`The sentinels name no known master: ${address}`);
    return found;
  };
  const masterOtherThan = (old: RedisServer): Promise<RedisServer> =>
    eventually(
      async () => {
        const now = await master();
        return now !== old && (await now.cli('ROLE')).startsWith('master') && now;
      },
      { timeoutMs: 30_000, everyMs: 30, what: 'another master' },
    );
  const failover = async (): Promise<RedisServer> => {
    const old = await master();
    // Refused for a moment after a start or another failover.
    await eventually(() => sentinels[0]?.cli('SENTINEL', 'FAILOVER', NAME), {
      what: 'the failover to begin',
    });
    return masterOtherThan(old);
  };
  return {
    name: NAME,
    servers,
    sentinels,
    master,
    failover,
    masterOtherThan,
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

async function startSentinel(master: RedisServer, options: RedisSentinelOptions): Promise<RedisServer> {
  const { sentinels = 1, downAfterMs = 500 } = options;
  const quorum = Math.floor(sentinels / 2) + 1;
  const server = await startServer({
    name: 'sentinel',
    plan: ({ port, directory }) => {
      // Sentinel keeps its state in its configuration file, so that a restart goes on where it was.
      const file = join(directory, 'sentinel.conf');
      const lines = [
        `port ${port}`,
        'bind 127.0.0.1',
        `dir ${directory}`,
        `sentinel monitor ${NAME} ${master.host} ${master.port} ${quorum}`,
        `sentinel down-after-milliseconds ${NAME} ${downAfterMs}`,
        `sentinel failover-timeout ${NAME} ${downAfterMs * 6}`,
      ];
      writeFileSync(file, `${lines.join('\n')}\n`);
      return {
        command: findBinary('redis-server', 'redis'),
        args: [file, '--sentinel'],
        isReady: async ({ pid }) =>
          (await redisCli(port, ['INFO', 'server'])).includes(`process_id:${pid}\r\n`),
      };
    },
  });
  const { host, port } = server;
  return Object.assign(server, {
    url: `redis://${host}:${port}`,
    cli: (...args: string[]) => redisCli(port, args),
  });
}

/** A failover needs a sentinel that has found the replica and the other sentinels. */
async function knowsAll(sentinel: RedisServer, sentinels: number): Promise<void> {
  await eventually(
    async () => (await sentinel.cli('INFO', 'sentinel')).includes(`slaves=1,sentinels=${sentinels}`),
    { timeoutMs: 30_000, everyMs: 50, what: 'the sentinels to find each other' },
  );
}
