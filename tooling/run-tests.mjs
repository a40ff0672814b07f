// `pnpm test`: every test of every package, against real servers, none taken from a cache; the last line is the count.
// Each run writes its reports to a folder of its own, so that two runs in one checkout do not disturb each other.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { join, relative } from 'node:path';
import process, { argv, cwd, env, execPath, exit, pid } from 'node:process';
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
const beginning = (message) => message.split('\n').slice(0, 3).join('\n    ').slice(0, 600);

/** A file that dies before its first test has no failed test, only a failed file. @param {FileReport} file */
const isBroken = (file) => file.status === 'failed' && file.assertionResults.length === 0;

/** Installs the server binaries the tests start, or says what to install. @param {string} root */
export function ensureServers(root) {
  const script = join(root, 'tooling/test-servers/bin/ensure-servers.mjs');
  return !existsSync(script) || spawnSync(execPath, [script], { stdio: 'inherit' }).status === 0;
}

/**
 * @param {string} root
 * @param {string[]} turboArguments e.g. `--filter=@xiaoke/lock`
 * @returns {number} the exit code
 */
function main(root, turboArguments) {
  if (!ensureServers(root)) return 1;
  const id = `${pid}-${process.hrtime.bigint()}`;
  const turbo = [
    'run',
    'test',
    '--force',
    '--continue',
    // Most of a test's time is waiting for servers, so two packages at once keep two cores busy and save half of it.
    '--concurrency=2',
    '--env-mode=loose',
    '--ui=stream',
  ];
  const run = spawnSync(join(root, 'node_modules/.bin/turbo'), [...turbo, ...turboArguments], {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...env, XIAOKE_TEST_RUN: id, TURBO_TELEMETRY_DISABLED: '1' },
  });

  const folders = testedPackages(root);
  const { passed, failed, skipped, problems } = sumReports(root, folders, id);
  for (const failure of listFailures(root, folders, id)) console.error(`failed: ${failure}`);
  for (const folder of folders)
    rmSync(join(root, folder, resultsFolder(id)), { recursive: true, force: true });
  // With a filter, the packages left out are left out on purpose.
  const counted = turboArguments.length === 0 ? problems : [];
  for (const problem of counted) console.error(problem);
  console.log(`tests: ${passed} passed, ${failed} failed, ${skipped} skipped`);
  return run.status === 0 && failed === 0 && passed > 0 && counted.length === 0 ? 0 : 1;
}

if (import.meta.url === pathToFileURL(argv[1] ?? '').href) exit(main(cwd(), argv.slice(2)));
