import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

import { findBinary } from '../find-binary.ts';
import type { ServerProcess } from '../server-process.ts';
import { startServer } from '../start-server.ts';

/** How {@link startPrometheus} and {@link startAlertmanager} run their server. */
export interface MonitoringOptions {
  /** The configuration in YAML. */
  readonly config: string;
  /** Files that the configuration names by relative paths, such as rules, with their texts. */
  readonly files?: Readonly<Record<string, string>>;
  /** More command line arguments. */
  readonly args?: readonly string[];
  /** A fixed port. @default a free one */
  readonly port?: number;
}

/** A private Prometheus or Alertmanager. */
export interface MonitoringServer extends ServerProcess {
  /** `http://127.0.0.1:<port>` */
  readonly url: string;
  /** Reads the configuration again after a test has changed a file in `directory`; throws when it is wrong. */
  reload(): Promise<void>;
}

/** The path of promtool, which checks rules and configurations. */
export function promtoolPath(): string {
  return findBinary('promtool', 'prometheus');
}

/** Starts a private Prometheus, in less than a second. */
export async function startPrometheus(options: MonitoringOptions): Promise<MonitoringServer> {
  return startMonitoring(options, {
    name: 'prometheus',
    command: findBinary('prometheus', 'prometheus'),
    readyLine: 'Server is ready to receive web requests',
    args: (directory) => [
      `--storage.tsdb.path=${join(directory, 'data')}`,
      '--web.enable-lifecycle',
      // An alert that fires before the Alertmanagers are discovered is dropped and, by default, not sent
      // again for a minute.
      '--rules.alert.resend-delay=1s',
    ],
  });
}

/** Starts a private Alertmanager that is its own only peer. */
export async function startAlertmanager(options: MonitoringOptions): Promise<MonitoringServer> {
  return startMonitoring(options, {
    name: 'alertmanager',
    command: findBinary('prometheus-alertmanager', 'alertmanager'),
    readyLine: 'Listening on',
    args: (directory) => [`--storage.path=${join(directory, 'data')}`, '--cluster.listen-address='],
  });
}

/** Starts a private Pushgateway; it has no configuration. */
export async function startPushgateway(): Promise<ServerProcess & { readonly url: string }> {
  const server = await startServer({
    name: 'pushgateway',
    plan: ({ port }) => ({
      command: findBinary('prometheus-pushgateway', 'pushgateway'),
      args: [`--web.listen-address=127.0.0.1:${port}`],
      isReady: async ({ log }) => log().includes('Listening on') && isReady(port),
    }),
  });
  return Object.assign(server, { url: `http://${server.host}:${server.port}` });
}

interface MonitoringProgram {
  readonly name: string;
  readonly command: string;
  /** Written by the process once it listens: proof that no stranger answers. */
  readonly readyLine: string;
  args(directory: string): string[];
}

async function startMonitoring(
  options: MonitoringOptions,
  program: MonitoringProgram,
): Promise<MonitoringServer> {
  const { config, files = {}, args = [] } = options;
  const { name, command, readyLine } = program;
  const server = await startServer({
    name,
    port: options.port,
    plan: ({ port, directory }) => {
      const configFile = join(directory, `${name}.yml`);
      writeFileSync(configFile, config);
      for (const [path, text] of Object.entries(files)) {
        mkdirSync(dirname(join(directory, path)), { recursive: true });
        writeFileSync(join(directory, path), text);
      }
      const place = [`--config.file=${configFile}`, `--web.listen-address=127.0.0.1:${port}`];
      return {
        command,
        args: [...place, ...program.args(directory), ...args],
        isReady: async ({ log }) => log().includes(readyLine) && isReady(port),
      };
    },
  });
  const url = `http://${server.host}:${server.port}`;
  return Object.assign(server, { url, reload: () => reload(url) });
}

async function isReady(port: number): Promise<boolean> {
  const { ok } = await fetch(`http://127.0.0.1:${port}/-/ready`);
  return ok;
}

async function reload(url: string): Promise<void> {
  const response = await fetch(`${url}/-/reload`, { method: 'POST' });
  if (!response.ok) throw new Error(`The configuration was refused: ${await response.text()}`);
}
