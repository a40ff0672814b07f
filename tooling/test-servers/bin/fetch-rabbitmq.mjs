#!/usr/bin/env node
/**
 * Fetches the RabbitMQ of another Debian release, with its Erlang and libraries, into a folder and prints that folder:
 *
 *     export XIAOKE_RABBITMQ=$(node tooling/test-servers/bin/fetch-rabbitmq.mjs trixie)
 *     pnpm --filter @xiaoke/queue exec vitest run rabbitmq
 *
 * Nothing is installed and no privilege is needed: packages are unpacked, and every program of Erlang is started through the
 * loader and the libraries that came with it. About 65 MB are downloaded, from the mirror that this machine's apt uses or from
 * `XIAOKE_DEBIAN_MIRROR`. A second call finds the folder made.
 */
import { execFileSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readSync,
  readdirSync,
  renameSync,
  rmSync,
} from 'node:fs';
import { statSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const [suite = 'trixie', folder] = process.argv.slice(2);
if (!/^[a-z]+$/.test(suite)) fail(`${suite} is no Debian release`);
const cache = fileURLToPath(new URL('../node_modules/.cache', import.meta.url));
const target = resolve(folder ?? join(cache, `rabbitmq-${suite}`));
const root = join(target, 'root');
const ready = join(target, 'ready');

if (!existsSync(ready)) {
  rmSync(target, { recursive: true, force: true });
  download();
  for (const name of programs()) startThroughOwnLoader(name);
  writeErl();
  rmSync(join(target, 'apt'), { recursive: true });
  writeFileSync(ready, '');
}
console.log(target);

/** Everything RabbitMQ needs, as if nothing were installed. */
function download() {
  const apt = join(target, 'apt');
  const archives = join(apt, 'cache', 'archives');
  for (const directory of [join(apt, 'state', 'lists', 'partial'), join(archives, 'partial'), root])
    mkdirSync(directory, { recursive: true });
  writeFileSync(join(apt, 'status'), '');
  const signedBy = '/usr/share/keyrings/debian-archive-keyring.gpg';
  writeFileSync(join(apt, 'sources.list'), `deb [signed-by=${signedBy}] ${mirror()} ${suite} main\n`);
  const options = {
    'Dir::State': join(apt, 'state'),
    'Dir::State::status': join(apt, 'status'),
    'Dir::Cache': join(apt, 'cache'),
    'Dir::Etc::sourcelist': join(apt, 'sources.list'),
    'Dir::Etc::sourceparts': '/dev/null',
    'Dir::Etc::preferencesparts': '/dev/null',
    'APT::Install-Recommends': 'false',
    'APT::Sandbox::User': 'root',
    'Debug::NoLocking': 'true',
  };
  const args = Object.entries(options).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
  run('apt-get', [...args, '-q', 'update']);
  run('apt-get', [...args, '-q', '-y', '--download-only', 'install', 'rabbitmq-server']);
  for (const file of readdirSync(archives))
    if (file.endsWith('.deb')) run('dpkg-deb', ['-x', join(archives, file), root]);
}

/** The Debian mirror of this machine. */
function mirror() {
  const given = process.env['XIAOKE_DEBIAN_MIRROR'];
  if (given !== undefined) return given;
  const format = ['indextargets', '--format', '$(REPO_URI)', 'Created-By: Packages'];
  const all = execFileSync('apt-get', format, { encoding: 'utf8' }).split('\n');
  const found = all.find((uri) => /\/debian\/?$/.test(uri));
  return found ?? fail('This machine has no Debian mirror: name one in XIAOKE_DEBIAN_MIRROR');
}

/** The compiled programs of Erlang; its shared libraries are loaded by them. */
function programs() {
  const erlang = join(root, 'usr', 'lib', 'erlang');
  return readdirSync(erlang, { recursive: true, encoding: 'utf8' })
    .filter((file) => /(^|\/)bin\/[^/]+$/.test(file))
    .map((file) => join(erlang, file))
    .filter((file) => statSync(file, { throwIfNoEntry: false })?.isFile() === true && isCompiled(file));
}

/** @param {string} file */
function isCompiled(file) {
  const magic = Buffer.alloc(4);
  const descriptor = openSync(file, 'r');
  readSync(descriptor, magic);
  closeSync(descriptor);
  return magic.toString('latin1') === '\x7fELF';
}

/** @param {string} file */
function startThroughOwnLoader(file) {
  const loader = join(root, 'usr', 'lib64', 'ld-linux-x86-64.so.2');
  const libraries = join(root, 'usr', 'lib', 'x86_64-linux-gnu');
  renameSync(file, `${file}.elf`);
  const script = `#!/bin/sh\nexec '${loader}' --library-path '${libraries}' "$0.elf" "$@"\n`;
  writeFileSync(file, script, { mode: 0o755 });
}

/** The one that came with it believes that it lies in /usr/lib/erlang. */
function writeErl() {
  const erlang = join(root, 'usr', 'lib', 'erlang');
  const runtime = readdirSync(erlang).find((name) => name.startsWith('erts-'));
  if (runtime === undefined) fail('The packages hold no Erlang');
  mkdirSync(join(target, 'bin'));
  const script = [
    '#!/bin/sh',
    `ROOTDIR='${erlang}'`,
    `BINDIR='${join(erlang, runtime, 'bin')}'`,
    'EMU=beam',
    'PROGNAME=erl',
    'export ROOTDIR BINDIR EMU PROGNAME',
    'exec "$BINDIR/erlexec" "$@"',
  ];
  writeFileSync(join(target, 'bin', 'erl'), `${script.join('\n')}\n`, { mode: 0o755 });
}

/**
 * @param {string} command
 * @param {readonly string[]} args
 */
function run(command, args) {
  execFileSync(command, args, { stdio: ['ignore', 2, 2] });
}

/**
 * @param {string} message
 * @returns {never}
 */
function fail(message) {
  console.error(message);
  process.exit(1);
}
