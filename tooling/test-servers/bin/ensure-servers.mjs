#!/usr/bin/env node
/**
 * Makes sure that the servers which the tests start are installed:
 *
 *     node tooling/test-servers/bin/ensure-servers.mjs [redis] [rabbitmq] [postgres] [mariadb] [prometheus] [alertmanager] [pushgateway] [chromium] [faketime]
 *
 * Without names it checks all. What is missing is installed by apt-get when that is allowed (root, or sudo
 * without a password); else it prints what to install and exits with 1. It needs nothing but Node, so that
 * it can run before anything is built.
 */
import { spawnSync } from 'node:child_process';
import { accessSync, constants, readdirSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { parseArgs } from 'node:util';

/**
 * @typedef {object} Server
 * @property {readonly string[]} packages what Debian and Ubuntu call it
 * @property {readonly string[]} binaries all of these must be there
 * @property {(() => readonly string[])=} directories where they may be, before PATH
 * @property {(() => number | undefined)=} version the version found, where an old one would not do
 * @property {number=} atLeast the oldest version that does
 */

/** @type {Readonly<Record<string, Server>>} */
const SERVERS = {
  redis: {
    packages: ['redis-server'],
    binaries: ['redis-server', 'redis-cli'],
    version: () => versionOf('redis-server', /v=(\d+\.\d+)/),
    atLeast: 7,
  },
  rabbitmq: {
    packages: ['rabbitmq-server'],
    binaries: ['rabbitmq-server', 'rabbitmqctl'],
    directories: () => ['/usr/lib/rabbitmq/bin'],
  },
  postgres: {
    packages: ['postgresql'],
    binaries: ['postgres', 'initdb', 'psql'],
    directories: postgresDirectories,
    version: () => versionOf('postgres', /(\d+)\.\d+/, postgresDirectories()),
    atLeast: 14,
  },
  // The core package holds the programs alone: no service, no system-wide database.
  mariadb: { packages: ['mariadb-server-core'], binaries: ['mariadbd', 'mariadb-install-db'] },
  prometheus: { packages: ['prometheus'], binaries: ['prometheus', 'promtool'] },
  alertmanager: { packages: ['prometheus-alertmanager'], binaries: ['prometheus-alertmanager'] },
  pushgateway: { packages: ['prometheus-pushgateway'], binaries: ['prometheus-pushgateway'] },
  chromium: { packages: ['chromium'], binaries: ['chromium'] },
  // No server, but what gives one a clock that can be set.
  faketime: { packages: ['faketime'], binaries: ['faketime'] },
};

const SYSTEM_DIRECTORIES = ['/usr/sbin', '/sbin', '/usr/local/sbin', '/usr/local/bin', '/usr/bin', '/bin'];

// One installation at a time: the lock ends with the process that holds it, however that ends. The policy
// keeps the packages from starting the system-wide services, which nobody asked for; one that is there
// already belongs to the machine and stays, one of ours that a killed run left behind goes.
const INSTALL = `
set -eu
mkdir -p /run/lock
exec 9>/run/lock/xiaoke-ensure-servers.lock
flock -w 1500 9
policy=/usr/sbin/policy-rc.d
mark='# by xiaoke ensure-servers, for the time of an installation'
if [ -f "$policy" ] && grep -qF "$mark" "$policy"; then rm -f "$policy"; fi
if [ ! -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT
  trap 'exit 130' HUP INT TERM
  printf '#!/bin/sh\\n%s\\nexit 101\\n' "$mark" > "$policy"
  chmod 755 "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
wait='-oDPkg::Lock::Timeout=300'
apt-get "$wait" -q update 9>&-
apt-get "$wait" -q -y --no-install-recommends install "$@" 9>&-
`;

main();

function main() {
  const names = parseNames();
  const missing = names.filter((name) => problemWith(name) !== undefined);
  if (missing.length === 0) return;
  for (const name of missing) console.error(`${name}: ${problemWith(name)}`);

  const packages = missing.flatMap((name) => SERVERS[name]?.packages ?? []);
  const command = ['apt-get', 'install', '--no-install-recommends', ...packages].join(' ');
  const prefix = rootPrefix();
  if (prefix === undefined) {
    fail(
      `The tests need these servers. Install them, for instance on Debian 12 or Ubuntu 24.04 as root:\n\n  ${command}\n`,
    );
  }
  console.error(`Installing ${packages.join(', ')} ...`);
  const [program = 'sh', ...args] = [...prefix, 'sh', '-c', INSTALL, 'ensure-servers', ...packages];
  const { status } = spawnSync(program, args, { stdio: ['ignore', 2, 2] });
  const left = missing.filter((name) => problemWith(name) !== undefined);
  if (status === 0 && left.length === 0) return;
  const reasons = left.map((name) => `${name}: ${problemWith(name)}`).join('\n');
  fail(`The installation failed.\n${reasons}\nRun it by hand as root:\n\n  apt-get update && ${command}\n`);
}

function parseNames() {
  const { positionals } = parseArgs({ allowPositionals: true });
  const unknown = positionals.filter((name) => !Object.hasOwn(SERVERS, name));
  if (unknown.length > 0) {
    fail(`Unknown: ${unknown.join(', ')}. Known are ${Object.keys(SERVERS).join(', ')}.`);
  }
  return positionals.length > 0 ? positionals : Object.keys(SERVERS);
}

/**
 * What keeps a server from being used, or nothing.
 * @param {string} name
 */
function problemWith(name) {
  const server = SERVERS[name];
  if (server === undefined) return 'unknown';
  const directories = server.directories?.() ?? [];
  const absent = server.binaries.filter((binary) => find(binary, directories) === undefined);
  if (absent.length > 0) return `${absent.join(', ')} not found`;
  const version = server.version?.();
  if (server.atLeast === undefined || version === undefined || version >= server.atLeast) return undefined;
  return `version ${server.atLeast} or newer is needed, ${version} is installed`;
}

/** The words that make a command run as root, or nothing when that is not allowed. */
function rootPrefix() {
  if (find('apt-get') === undefined) return undefined;
  if (process.getuid?.() === 0) return [];
  const allowed = spawnSync('sudo', ['-n', 'true'], { stdio: 'ignore' }).status === 0;
  return allowed ? ['sudo', '-n'] : undefined;
}

/**
 * @param {string} binary
 * @param {RegExp} pattern
 * @param {readonly string[]} directories
 */
function versionOf(binary, pattern, directories = []) {
  const path = find(binary, directories);
  if (path === undefined) return undefined;
  const { stdout } = spawnSync(path, ['--version'], { encoding: 'utf8' });
  const version = pattern.exec(stdout)?.[1];
  return version === undefined ? undefined : Number(version);
}

/**
 * @param {string} binary
 * @param {readonly string[]} first
 */
function find(binary, first = []) {
  const path = (process.env['PATH'] ?? '').split(delimiter).filter((directory) => directory !== '');
  return [...first, ...path, ...SYSTEM_DIRECTORIES]
    .map((directory) => join(directory, binary))
    .find(executable);
}

/** @param {string} path */
function executable(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function postgresDirectories() {
  const base = '/usr/lib/postgresql';
  try {
    const newestFirst = readdirSync(base).sort((a, b) => Number(b) - Number(a));
    return newestFirst.map((version) => join(base, version, 'bin'));
  } catch {
    return [];
  }
}

/**
 * @param {string} message
 * @returns {never}
 */
function fail(message) {
  console.error(message);
  process.exit(1);
}
