// `pnpm test:matrix [major …]`: the Vitest suites of every package on each Node version of package.json, beside the Node
// that runs this. The binaries come from npm, in exact versions, and are installed here on first use (Linux x64).
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import process, { argv, env } from 'node:process';
import { ensureServers, listFailures, resultsFolder, sumReports, testedPackages } from '../run-tests.mjs';

/** Packages that are tested at the same time: they wait more than they compute. */
const AT_ONCE = 2;

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

/**
 * Whether the tests of a package pass; what they said is shown in one piece, since others run beside.
 *
 * @param {string} folder
 * @param {string} major
 * @param {string} id
 */
async function testPackage(folder, major, id) {
  // Vitest's workers are started from process.execPath, so they run on the same Node.
  const run = spawn(binary(major), [join(root, 'node_modules/vitest/vitest.mjs'), 'run'], {
    cwd: join(root, folder),
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...env, XIAOKE_TEST_RUN: id },
  });
  let said = '';
  for (const stream of [run.stdout, run.stderr])
    stream.setEncoding('utf8').on('data', (text) => (said += text));
  const [code] = await once(run, 'close');
  process.stdout.write(said);
  return code === 0;
}

if (majors.some((major) => !existsSync(binary(major)))) {
  // No lockfile: the versions above are exact, and a lockfile would name the registry it was made with.
  const install = ['install', '--no-audit', '--no-fund', '--no-package-lock'];
  if (spawnSync('npm', install, { cwd: here, stdio: 'inherit' }).status !== 0) process.exit(1);
}

if (!ensureServers(root)) process.exit(1);
const packages = testedPackages(root);
for (const major of majors) {
  const id = `node${major}-${process.pid}`;
  let broken = 0;
  const waiting = [...packages];
  const lane = async () => {
    for (let folder = waiting.shift(); folder !== undefined; folder = waiting.shift())
      if (!(await testPackage(folder, major, id))) broken += 1;
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
  const { passed, failed, skipped, problems } = sumReports(root, packages, id);
  for (const failure of listFailures(root, packages, id)) console.error(`failed: ${failure}`);
  for (const folder of packages)
    rmSync(join(root, folder, resultsFolder(id)), { recursive: true, force: true });
  for (const problem of problems) console.error(problem);
  console.log(
    `node ${binaries[`node${major}`]?.split('@').at(-1)} tests: ${passed} passed, ${failed} failed, ${skipped} skipped`,
  );
  if (broken > 0 || failed > 0 || problems.length > 0) process.exitCode = 1;
}
