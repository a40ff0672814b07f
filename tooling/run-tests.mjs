// `pnpm test`: every test of every package, against real servers, none taken from a cache; the last line is the count.
// Each run writes its reports to a folder of its own, so that two runs in one checkout do not disturb each other.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { basename, join, relative } from 'node:path';
import process, { argv, cwd, env, execPath, pid } from 'node:process';
import { pathToFileURL } from 'node:url';

/** @typedef {{ passed: number; failed: number; skipped: number }} Counts */
/** @typedef {{ status: string; fullName: string; failureMessages: string[] }} TestReport */
/** @typedef {{ status: string; name: string; message: string; assertionResults: TestReport[] }} FileReport */
/** @typedef {{ numPassedTests: number; numFailedTests: number; numPendingTests: number; numTodoTests: number; testResults: FileReport[] }} Report */

/** Where, inside a package, the run `id` leaves its reports; vitest.shared.ts says the same. @param {string} id */
export const resultsFolder = (id) => join('.test-results', id);

/**
 * The packages that have tests, as folders relative to the repository.
 *
 * @param {string} root
 * @returns {string[]}
 */
export function testedPackages(root) {
  const folders = ['packages', 'apps', 'tooling'].flatMap((group) =>
    readdirSync(join(root, group)).map((name) => join(group, name)),
  );
  return folders.filter((folder) => {
    const manifest = join(root, folder, 'package.json');
    return existsSync(manifest) && JSON.parse(readFileSync(manifest, 'utf8')).scripts?.test !== undefined;
  });
}

/**
 * Adds up the reports of one run. A package without a report, or without a test that ran, is a problem: an empty run
 * must not look like a good one.
 *
 * @param {string} root
 * @param {string[]} folders
 * @param {string} id
 * @returns {Counts & { problems: string[] }}
 */
export function sumReports(root, folders, id) {
  const sum = { passed: 0, failed: 0, skipped: 0, problems: /** @type {string[]} */ ([]) };
  for (const folder of folders) {
    const path = join(root, folder, resultsFolder(id), 'vitest.json');
    if (!existsSync(path)) {
      sum.problems.push(`${folder}: no report, so no test ran`);
      continue;
    }
    const counts = countReport(JSON.parse(readFileSync(path, 'utf8')));
    if (counts.passed + counts.failed === 0) sum.problems.push(`${folder}: no test ran`);
    sum.passed += counts.passed;
    sum.failed += counts.failed;
    sum.skipped += counts.skipped;
  }
  return sum;
}

/** @param {Report} report @returns {Counts} */
function countReport(report) {
  const broken = report.testResults.filter(isBroken);
  return {
    passed: report.numPassedTests,
    failed: report.numFailedTests + broken.length,
    skipped: report.numPendingTests + report.numTodoTests,
  };
}

/**
 * What failed in one run, a test an entry: its file, its name and how the error begins. The end of a long log is what
 * people read first.
 *
 * @param {string} root
 * @param {string[]} folders
 * @param {string} id
 * @returns {string[]}
 */
export function listFailures(root, folders, id) {
  return folders.flatMap((folder) => {
    const path = join(root, folder, resultsFolder(id), 'vitest.json');
    if (!existsSync(path)) return [];
    const { testResults } = /** @type {Report} */ (JSON.parse(readFileSync(path, 'utf8')));
    return testResults.flatMap((file) => {
      const where = relative(root, file.name);
      if (isBroken(file)) return [`${where}\n    ${beginning(file.message)}`];
      const failed = file.assertionResults.filter((test) => test.status === 'failed');
      return failed.map(
        (test) => `${where} > ${test.fullName}\n    ${beginning(test.failureMessages[0] ?? '')}`,
      );
    });
  });
}

/** @param {string} message */
const beginning = (message) => message.split('\n').slice(0, 6).join('\n    ').slice(0, 1200);

/** A file that dies before its first test has no failed test, only a failed file. @param {FileReport} file */
const isBroken = (file) => file.status === 'failed' && file.assertionResults.length === 0;

/** Installs the server binaries the tests start, or says what to install. @param {string} root */
export function ensureServers(root) {
  const script = join(root, 'tooling/test-servers/bin/ensure-servers.mjs');
  return !existsSync(script) || spawnSync(execPath, [script], { stdio: 'inherit' }).status === 0;
}

/**
 * Runs the tests of all `folders`, two packages at once: most of a test's time is waiting for servers, so two keep two cores
 * busy. What a package says is shown in one piece, since another one runs beside it.
 *
 * @param {string[]} folders
 * @param {(folder: string) => import('node:child_process').ChildProcess} start with its output piped
 * @returns {Promise<string[]>} the folders whose tests failed
 */
export async function runPackages(folders, start) {
  const wide = WIDE.filter((folder) => folders.includes(folder));
  const narrow = folders.filter((folder) => !WIDE.includes(folder)).sort((a, b) => rank(a) - rank(b));
  /** @type {string[]} */
  const failed = [];
  /** @param {string[]} first @param {string[]} then */
  const lane = async (first, then) => {
    for (let folder = next(first, then); folder !== undefined; folder = next(first, then)) {
      const run = start(folder);
      let said = '';
      for (const stream of [run.stdout, run.stderr])
        stream?.setEncoding('utf8').on('data', (text) => (said += text));
      const [code] = await once(run, 'close');
      process.stdout.write(said);
      if (code !== 0) failed.push(folder);
    }
  };
  await Promise.all([lane(wide, narrow), lane(narrow, wide)]);
  return failed;
}

/** Packages that run two test files at once themselves; so one after the other, beside one that does not. The longest is first. */
const WIDE = ['packages/queue', 'packages/health', 'packages/lock'];

/** What takes minutes begins first, so that it does not run alone at the end. @param {string} folder */
const rank = (folder) => (folder.startsWith('apps/') ? 0 : 1);

/** @param {string[]} first @param {string[]} then */
const next = (first, then) => first.shift() ?? then.shift();

/**
 * Reports the run `id` in one line, after what failed in it, and throws its reports away.
 *
 * @param {{ root: string; folders: string[]; id: string; broken: string[]; title?: string }} run
 * @returns {boolean} whether every test of every folder is well
 */
export function closeRun({ root, folders, id, broken, title = '' }) {
  const { passed, failed, skipped, problems } = sumReports(root, folders, id);
  for (const failure of listFailures(root, folders, id)) console.error(`failed: ${failure}`);
  for (const folder of folders)
    rmSync(join(root, folder, resultsFolder(id)), { recursive: true, force: true });
  for (const folder of broken) console.error(`${folder}: its tests did not end well`);
  for (const problem of problems) console.error(problem);
  console.log(`${title}tests: ${passed} passed, ${failed} failed, ${skipped} skipped`);
  return failed === 0 && passed > 0 && broken.length === 0 && problems.length === 0;
}

/**
 * @param {string} root
 * @param {string[]} wanted packages by the last part of their folder; all without any
 * @returns {Promise<boolean>}
 */
async function main(root, wanted) {
  if (!ensureServers(root)) return false;
  const all = testedPackages(root);
  const strangers = wanted.filter((name) => !all.some((folder) => basename(folder) === name));
  if (strangers.length > 0) {
    console.error(
      `no such package: ${strangers.join(', ')}; there are ${all.map((folder) => basename(folder)).join(', ')}`,
    );
    return false;
  }
  const folders = wanted.length === 0 ? all : all.filter((folder) => wanted.includes(basename(folder)));
  const id = `${pid}-${process.hrtime.bigint()}`;
  const broken = await runPackages(folders, (folder) =>
    spawn(JSON.parse(readFileSync(join(root, folder, 'package.json'), 'utf8')).scripts.test, {
      cwd: join(root, folder),
      shell: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...env, PATH: `${join(root, 'node_modules/.bin')}:${env['PATH']}`, XIAOKE_TEST_RUN: id },
    }),
  );
  return closeRun({ root, folders, id, broken });
}

if (import.meta.url === pathToFileURL(argv[1] ?? '').href)
  process.exitCode = (await main(cwd(), argv.slice(2))) ? 0 : 1;
