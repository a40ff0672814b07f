// `pnpm test:matrix [major …]`: the Vitest suites of every package on each Node version of package.json, beside the Node
// that runs this. The binaries come from npm, in exact versions, and are installed here on first use (Linux x64).
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import process, { argv, env } from 'node:process';
import { closeRun, ensureServers, runPackages, testedPackages } from '../run-tests.mjs';

const here = import.meta.dirname;
const root = join(here, '../..');
/** @type {Record<string, string>} */
const binaries = JSON.parse(readFileSync(join(here, 'package.json'), 'utf8')).dependencies;
const wanted = argv.slice(2);
const majors = Object.keys(binaries)
  .map((name) => name.replace('node', ''))
  .filter((major) => wanted.length === 0 || wanted.includes(major));
if (majors.length === 0)
  throw new Error(`no such Node: ${wanted.join(', ')}; there are ${Object.keys(binaries).join(', ')}`);

/** @param {string} major */
const binary = (major) => join(here, 'node_modules', `node${major}`, 'bin/node');

if (majors.some((major) => !existsSync(binary(major)))) {
  // No lockfile: the versions above are exact, and a lockfile would name the registry it was made with.
  const install = ['install', '--no-audit', '--no-fund', '--no-package-lock'];
  if (spawnSync('npm', install, { cwd: here, stdio: 'inherit' }).status !== 0) process.exit(1);
}

if (!ensureServers(root)) process.exit(1);
const packages = testedPackages(root);
for (const major of majors) {
  const id = `node${major}-${process.pid}`;
  // Vitest's workers are started from process.execPath, so they run on the same Node.
  const broken = await runPackages(packages, (folder) =>
    spawn(binary(major), [join(root, 'node_modules/vitest/vitest.mjs'), 'run'], {
      cwd: join(root, folder),
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...env, XIAOKE_TEST_RUN: id },
    }),
  );
  const title = `node ${binaries[`node${major}`]?.split('@').at(-1)} `;
  if (!closeRun({ root, folders: packages, id, broken, title })) process.exitCode = 1;
}
