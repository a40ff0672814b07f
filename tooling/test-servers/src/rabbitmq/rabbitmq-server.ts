import { randomBytes } from 'node:crypto';
import { realpathSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';

import { findBinary } from '../find-binary.ts';
import { freePort } from '../free-port.ts';
import { runProgram } from '../run-program.ts';
import type { ServerProcess } from '../server-process.ts';
import { startServer } from '../start-server.ts';

/** How {@link startRabbitMq} runs the broker. */
export interface RabbitMqOptions {
  /** Lines of `rabbitmq.conf`, such as `heartbeat = 1`. */
  readonly config?: readonly string[];
  /** Plugins to enable, by name: the broker's own, and those in the folder that `XIAOKE_RABBITMQ_PLUGINS` names. */
  readonly plugins?: readonly string[];
  /** A fixed port. @default a free one */
  readonly port?: number;
}

/** A private RabbitMQ broker. */
export interface RabbitMqServer extends ServerProcess {
  /** `amqp://guest:guest@127.0.0.1:<port>` */
  readonly url: string;
  readonly nodeName: string;
  /** Runs rabbitmqctl against this node, in about a second, and returns its output; throws when it fails. */
  ctl(...args: string[]): Promise<string>;
  /** The broker ends its connections and stops listening, the Erlang node lives on: an orderly outage. */
  stopApp(): Promise<void>;
  /** The end of {@link stopApp}. */
  startApp(): Promise<void>;
  /**
   * Brings the definitions of queues and exchanges to disk.
   *
   * RabbitMQ 3.10 writes them up to some seconds late: a `kill()` in that time can lose a durable queue that
   * was just declared, and its confirmed messages with it.
   */
  syncDefinitions(): Promise<void>;
  /** The broker closes each connection with CONNECTION_FORCED. */
  closeAllConnections(): Promise<void>;
  /**
   * Sets the share of memory from which on publishers are blocked: 0 blocks them now, 0.4 is RabbitMQ's
   * default.
   */
  setMemoryHighWatermark(share: number): Promise<void>;
}

// Debian's wrappers in /usr/sbin change the user, who then cannot write to our directory.
const DIRECTORIES = ['/usr/lib/rabbitmq/bin'];

/** A folder made by `bin/fetch-rabbitmq.mjs`, whose version is run in place of the installed one. */
const FETCHED = process.env['XIAOKE_RABBITMQ'];

/** Plugins that the broker does not bring along: a folder of `.ez` files, or of folders with an `ebin`. */
const MORE_PLUGINS = process.env['XIAOKE_RABBITMQ_PLUGINS'];

/**
 * Starts a private RabbitMQ broker, in about six seconds.
 *
 * Its Erlang node registers under a random name with the machine's one `epmd`, which is started when none
 * runs and, being shared, is left running.
 */
export async function startRabbitMq(options: RabbitMqOptions = {}): Promise<RabbitMqServer> {
  const nodeName = `xiaoke-${randomBytes(6).toString('hex')}@localhost`;
  const server = await startServer({
    name: 'rabbitmq',
    port: options.port,
    plan: async ({ port, directory }) => {
      writeConfiguration(directory, options);
      return {
        command: program('rabbitmq-server'),
        args: [],
        env: {
          ...rabbitEnvironment(nodeName, directory),
          RABBITMQ_NODE_PORT: String(port),
          RABBITMQ_DIST_PORT: String(await freePort()),
        },
        // Its own output, so no stranger can be taken for it.
        isReady: ({ log }) => log().includes('Server startup complete'),
        startTimeoutMs: 90_000,
      };
    },
  });
  const { host, port, directory } = server;
  const ctl = (...args: string[]): Promise<string> =>
    runProgram(program('rabbitmqctl'), ['-n', nodeName, '-q', ...args], {
      env: rabbitEnvironment(nodeName, directory),
      cwd: directory,
      timeoutMs: 60_000,
    });
  return Object.assign(server, {
    url: `amqp://guest:guest@${host}:${port}`,
    nodeName,
    ctl,
    stopApp: async () => void (await ctl('stop_app')),
    startApp: async () => void (await ctl('start_app')),
    syncDefinitions: async () =>
      void (await ctl(
        'eval',
        'case mnesia:system_info(is_running) of yes -> ok = mnesia:sync_log(); _ -> ok end.',
      )),
    closeAllConnections: async () => void (await ctl('close_all_connections', 'closed by a test')),
    setMemoryHighWatermark: async (share: number) =>
      void (await ctl('set_vm_memory_high_watermark', String(share))),
  });
}

function program(name: 'rabbitmq-server' | 'rabbitmqctl'): string {
  return findBinary(name, 'rabbitmq', FETCHED === undefined ? DIRECTORIES : [rabbitDirectory(FETCHED)]);
}

function rabbitDirectory(fetched: string): string {
  return join(fetched, 'root', 'usr', 'lib', 'rabbitmq', 'bin');
}

function ownPlugins(): string {
  return join(dirname(realpathSync(program('rabbitmq-server'))), '..', 'plugins');
}

function writeConfiguration(directory: string, { config = [], plugins = [] }: RabbitMqOptions): void {
  // The log goes to standard output alone; a full disk is not what these tests are about.
  const lines = ['log.file = false', 'log.console = true', 'disk_free_limit.absolute = 1MB', ...config];
  writeFileSync(join(directory, 'rabbitmq.conf'), `${lines.join('\n')}\n`);
  writeFileSync(join(directory, 'advanced.config'), '[].\n');
  writeFileSync(join(directory, 'enabled_plugins'), `[${plugins.join()}].\n`);
  writeFileSync(join(directory, 'rabbitmq-env.conf'), '');
}

/** All that RabbitMQ would else take from the machine's own broker, and the cookie, which lies in HOME. */
function rabbitEnvironment(nodeName: string, directory: string): NodeJS.ProcessEnv {
  return {
    HOME: directory,
    LANG: 'C.UTF-8',
    // Its own Erlang comes first.
    ...(FETCHED === undefined ? {} : { PATH: `${join(FETCHED, 'bin')}:${process.env['PATH'] ?? ''}` }),
    ERL_CRASH_DUMP: '/dev/null',
    RABBITMQ_NODENAME: nodeName,
    RABBITMQ_NODE_IP_ADDRESS: '127.0.0.1',
    RABBITMQ_CONF_ENV_FILE: join(directory, 'rabbitmq-env.conf'),
    RABBITMQ_CONFIG_FILE: join(directory, 'rabbitmq.conf'),
    RABBITMQ_ADVANCED_CONFIG_FILE: join(directory, 'advanced.config'),
    RABBITMQ_ENABLED_PLUGINS_FILE: join(directory, 'enabled_plugins'),
    ...(MORE_PLUGINS === undefined
      ? {}
      : { RABBITMQ_PLUGINS_DIR: `${ownPlugins()}${delimiter}${MORE_PLUGINS}` }),
    RABBITMQ_MNESIA_BASE: join(directory, 'mnesia'),
    RABBITMQ_LOG_BASE: join(directory, 'log'),
    RABBITMQ_PID_FILE: join(directory, 'rabbitmq.pid'),
    // Two schedulers do for tests, and their threads do not spin while they wait.
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: '+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none',
    RABBITMQ_CTL_ERL_ARGS: '+S 1:1 +sbwt none',
  };
}
