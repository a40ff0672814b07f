// `pnpm test`: every test of every package, against real servers, none taken from a cache; the last line is the count.
// Each run writes its reports to a folder of its own, so that two runs in one checkout do not disturb each other.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import process, { argv, cwd, env, execPath, exit, pid } from 'node:process';
import { pathToFileURL } from 'node:url';

/** @typedef {{ passed: number; failed: number; skipped: number }} Counts */
/** @typedef {{ status: string; assertionResults: unknown[] }} FileReport */
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
  // A file that dies before its first test has no failed test, only a failed file.
  const broken = report.testResults.filter(
    (file) => file.status === 'failed' && file.assertionResults.length === 0,
  );
  return {
    passed: report.numPassedTests,
    failed: report.numFailedTests + broken.length,
    skipped: report.numPendingTests + report.numTodoTests,
  };
}

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
    // Most of a test's time is waiting for servers, so two packages at once cost little and save half of it.
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
  for (const folder of folders)
    rmSync(join(root, folder, resultsFolder(id)), { recursive: true, force: true });
  // With a filter, the packages left out are left out on purpose.
  const counted = turboArguments.length === 0 ? problems : [];
  for (const problem of counted) console.error(problem);
  console.log(`tests: ${passed} passed, ${failed} failed, ${skipped} skipped`);
  return run.status === 0 && failed === 0 && passed > 0 && counted.length === 0 ? 0 : 1;
}

if (import.meta.url === pathToFileURL(argv[1] ?? '').href) exit(main(cwd(), argv.slice(2)));
