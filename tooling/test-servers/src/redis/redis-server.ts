import { findBinary } from '../find-binary.ts';
import { runProgram } from '../run-program.ts';
import type { ServerProcess } from '../server-process.ts';
import { startServer } from '../start-server.ts';

/** How {@link startRedis} runs the server. */
export interface RedisOptions {
  /**
   * Whether writes survive `kill()` and `restart()`: `'always'` loses nothing that was answered,
   * `'everysec'` up to about a second of writes when the machine fails (a killed process alone loses none
   * that the kernel took), `false` everything.
   * @default false
   */
  readonly appendonly?: 'always' | 'everysec' | false;
  /** More arguments of redis-server, such as `['--maxmemory', '10mb']`; later ones win. */
  readonly args?: readonly string[];
  /** A fixed port. @default a free one */
  readonly port?: number;
  /** Added to the environment of the tests, such as that of a `settableClock()`. */
  readonly env?: NodeJS.ProcessEnv;
}

/** A private Redis server. */
export interface RedisServer extends ServerProcess {
  /** `redis://127.0.0.1:<port>` */
  readonly url: string;
  /** Runs a command by redis-cli and returns its raw answer without the final newline; throws on an error reply. */
  cli(...args: string[]): Promise<string>;
}

/**
 * Starts a private Redis on a free port of 127.0.0.1, in some 50 ms.
 *
 * @example
 * ```ts
 * await using redis = await startRedis({ appendonly: 'always' });
 * await redis.cli('SET', 'answer', '42');
 * await redis.restart(); // kill -9, same port, same data
 * ```
 */
export async function startRedis(options: RedisOptions = {}): Promise<RedisServer> {
  const server = await startServer({
    name: 'redis',
    port: options.port,
    plan: ({ port, directory }) => ({
      command: findBinary('redis-server', 'redis'),
      args: redisArguments(port, directory, options),
      ...(options.env && { env: options.env }),
      // A stranger on this port would answer PING just as well.
      isReady: async ({ pid }) => {
        const facts = await redisCli(port, ['INFO']);
        return facts.includes(`process_id:${pid}\r\n`) && facts.includes('\nloading:0\r\n');
      },
    }),
  });
  const { host, port } = server;
  return Object.assign(server, {
    url: `redis://${host}:${port}`,
    cli: (...args: string[]) => redisCli(port, args),
  });
}

/** Runs one command against the Redis on a local port. */
export async function redisCli(port: number, args: readonly string[]): Promise<string> {
  // -e turns an error reply into a failure.
  const answer = await runProgram(
    findBinary('redis-cli', 'redis'),
    ['-e', '-h', '127.0.0.1', '-p', String(port), ...args],
    { timeoutMs: 10_000 },
  );
  return answer.replace(/\n$/, '');
}

function redisArguments(port: number, directory: string, options: RedisOptions): string[] {
  const { appendonly = false, args = [] } = options;
  const persistence =
    appendonly === false ? ['--appendonly', 'no'] : ['--appendonly', 'yes', '--appendfsync', appendonly];
  const place = ['--port', String(port), '--bind', '127.0.0.1', '--dir', directory];
  return [...place, '--save', '', '--enable-debug-command', 'local', ...persistence, ...args];
}
