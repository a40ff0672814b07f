import { spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import {
  closeRun,
  listFailures,
  resultsFolder,
  runPackages,
  sumReports,
  testedPackages,
} from '../../run-tests.mjs';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'run-tests-'));
  for (const group of ['packages', 'apps', 'tooling']) mkdirSync(join(root, group));
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(root, { recursive: true });
});

function addPackage(folder: string, manifest: object): void {
  mkdirSync(join(root, folder), { recursive: true });
  writeFileSync(join(root, folder, 'package.json'), JSON.stringify(manifest));
}

function addReport(folder: string, id: string, report: object): void {
  const results = join(root, folder, resultsFolder(id));
  mkdirSync(results, { recursive: true });
  const empty = {
    numPassedTests: 0,
    numFailedTests: 0,
    numPendingTests: 0,
    numTodoTests: 0,
    testResults: [],
  };
  writeFileSync(join(results, 'vitest.json'), JSON.stringify({ ...empty, ...report }));
}

test('passed, failed and skipped tests of all packages are added up', () => {
  addReport('packages/a', '1', { numPassedTests: 3, numPendingTests: 1 });
  addReport('packages/b', '1', { numPassedTests: 2, numFailedTests: 1, numTodoTests: 1 });

  const sum = sumReports(root, ['packages/a', 'packages/b'], '1');

  expect(sum).toEqual({ passed: 5, failed: 1, skipped: 2, problems: [] });
});

test('a file that breaks before its first test counts as a failure', () => {
  const testResults = [{ status: 'failed', assertionResults: [] }];
  addReport('packages/a', '1', { numPassedTests: 1, testResults });

  expect(sumReports(root, ['packages/a'], '1')).toMatchObject({ passed: 1, failed: 1 });
});

test('every failed test is listed with its file and how its error begins', () => {
  const testResults = [
    {
      status: 'failed',
      name: join(root, 'packages/a/test/one.test.ts'),
      assertionResults: [
        { status: 'passed', fullName: 'works', failureMessages: [] },
        {
          status: 'failed',
          fullName: 'a lock is free again',
          failureMessages: ['expected 1 to be 2\n  at a\n  at b\n  at c\n  at d\n  at e\n  at f'],
        },
      ],
    },
    {
      status: 'failed',
      name: join(root, 'packages/a/test/two.test.ts'),
      message: 'Cannot find module',
      assertionResults: [],
    },
  ];
  addReport('packages/a', '1', { testResults });

  expect(listFailures(root, ['packages/a', 'packages/b'], '1')).toEqual([
    'packages/a/test/one.test.ts > a lock is free again\n    expected 1 to be 2\n      at a\n      at b\n      at c\n      at d\n      at e',
    'packages/a/test/two.test.ts\n    Cannot find module',
  ]);
});

test('a package that ran no test, or left no report, is named', () => {
  addReport('packages/a', '1', { numPendingTests: 4 });
  addReport('packages/b', 'another run', { numPassedTests: 1 });

  const { problems } = sumReports(root, ['packages/a', 'packages/b'], '1');

  expect(problems).toEqual(['packages/a: no test ran', 'packages/b: no report, so no test ran']);
});

test('every workspace folder with a test script counts as tested', () => {
  addPackage('packages/a', { scripts: { test: 'vitest run' } });
  addPackage('apps/b', { scripts: { build: 'tsc' } });
  addPackage('tooling/c', { scripts: { test: 'vitest run' } });
  mkdirSync(join(root, 'packages/not-a-package'));

  expect(testedPackages(root)).toEqual(['packages/a', 'tooling/c']);
});

test('two packages run at once, of those that run two files themselves one after the other, and who fails is named', async () => {
  const begun: string[] = [];
  let running = 0;
  let most = 0;
  const start = (folder: string): ChildProcess => {
    begun.push(folder);
    running += 1;
    most = Math.max(most, running);
    const child = spawn(process.execPath, ['-e', `process.exit(${folder === 'apps/b' ? 1 : 0})`]);
    child.once('close', () => (running -= 1));
    return child;
  };

  const folders = ['packages/a', 'packages/lock', 'packages/queue', 'apps/b'];
  const failed = await runPackages(folders, start);

  expect(begun.slice(0, 2)).toEqual(['packages/queue', 'apps/b']);
  expect(begun.slice(2).sort()).toEqual(['packages/a', 'packages/lock']);
  expect(most).toBe(2);
  expect(failed).toEqual(['apps/b']);
});

test('a run whose process failed is not well, whatever its report says', () => {
  addReport('packages/a', '1', { numPassedTests: 1 });
  const run = { root, folders: ['packages/a'], id: '1' };
  vi.spyOn(console, 'log').mockImplementation(() => {});
  vi.spyOn(console, 'error').mockImplementation(() => {});
  expect(closeRun({ ...run, broken: ['packages/a'] })).toBe(false);
  addReport('packages/a', '1', { numPassedTests: 1 });
  expect(closeRun({ ...run, broken: [] })).toBe(true);
});
