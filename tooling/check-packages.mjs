// Packs every package as it would be published and looks at the tarballs with the eyes of a user: publint and attw, an
// install into an empty project, import() and require() of every entry, and its types under three TypeScripts.
// Needs a build. See package-checks.mjs for the single checks.
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import process, { cwd } from 'node:process';
import {
  commentComplaints,
  declarationComplaints,
  entriesOf,
  loadComplaints,
  manifestComplaints,
  output,
  typeComplaints,
} from './package-checks.mjs';

const root = cwd();
const bin = join(root, 'node_modules/.bin');
const folders = readdirSync(join(root, 'packages')).map((name) => join(root, 'packages', name));
const manifests = folders.map((folder) => JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')));

/** @param {string} label @param {string} file @param {string[]} args @param {string} folder */
async function mustRun(label, file, args, folder) {
  const { code, text } = await output(file, args, folder);
  return code === 0 ? [] : [`${label}: ${text.trim()}`];
}

/** @param {string} folder @param {string} name @param {string} tarballs */
async function pack(folder, name, tarballs) {
  const file = `${name.slice(name.indexOf('/') + 1)}.tgz`;
  const failed = await mustRun(`${name}: pack`, 'pnpm', ['pack', '--out', join(tarballs, file)], folder);
  if (failed.length > 0) throw new Error(failed.join('\n'));
  return join(tarballs, file);
}

/** @param {string} tarball @param {string} folder */
async function reviewTarball(tarball, folder) {
  const publint = mustRun(`publint ${tarball}`, join(bin, 'publint'), ['run', tarball, '--strict'], folder);
  const attw = ['--profile', 'esm-only', '--format', 'ascii', '--no-emoji', tarball];
  return [...(await publint), ...(await mustRun(`attw ${tarball}`, join(bin, 'attw'), attw, folder))];
}

/** @param {string} name a package of tooling/checks that is a TypeScript */
function compiler(name) {
  const fromChecks = createRequire(join(root, 'tooling/checks/package.json'));
  return join(dirname(fromChecks.resolve(`${name}/package.json`)), 'lib/tsc.js');
}

/** @param {string} temp @param {string[]} tarballs */
async function reviewAsUser(temp, tarballs) {
  const consumer = join(temp, 'consumer');
  mkdirSync(consumer);
  writeFileSync(join(consumer, 'package.json'), '{ "private": true, "type": "module" }\n');
  const nodeTypes = JSON.parse(
    readFileSync(join(root, 'node_modules/@types/node/package.json'), 'utf8'),
  ).version;
  const install = ['install', '--no-audit', '--no-fund', '--no-package-lock', `@types/node@${nodeTypes}`];
  const failed = await mustRun('npm install of the tarballs', 'npm', [...install, ...tarballs], consumer);
  if (failed.length > 0) return failed;

  const installed = manifests.map(({ name }) => join(consumer, 'node_modules', name));
  const published = installed.map((folder) => readFileSync(join(folder, 'package.json'), 'utf8'));
  const leftover = published.filter((text) => /"(workspace|catalog):/.test(text));
  const entries = published.flatMap((text) => entriesOf(JSON.parse(text)));
  const compilers = {
    5.9: compiler('typescript59'),
    '6.0': compiler('typescript60'),
    '7.0': join(root, 'node_modules/typescript/bin/tsc'),
  };
  return [
    ...leftover.map((text) => `${JSON.parse(text).name}: a workspace: or catalog: range was published`),
    ...manifests.flatMap(({ name }, i) => declarationComplaints(name, installed[i] ?? '')),
    ...manifests.flatMap((manifest, i) => commentComplaints(manifest, installed[i] ?? '')),
    ...(await loadComplaints(consumer, entries)),
    ...(await typeComplaints(consumer, entries, compilers)),
  ];
}

const temp = mkdtempSync(join(tmpdir(), 'check-packages-'));
try {
  const complaints = folders.flatMap((folder) => manifestComplaints(folder));
  if (complaints.length === 0) {
    const tarballs = await Promise.all(folders.map((folder, i) => pack(folder, manifests[i].name, temp)));
    const [used, ...reviewed] = await Promise.all([
      reviewAsUser(temp, tarballs),
      ...tarballs.map((tarball, i) => reviewTarball(tarball, folders[i] ?? root)),
    ]);
    complaints.push(...reviewed.flat(), ...used);
  }
  for (const complaint of complaints) console.error(complaint);
  console.log(`packages: ${folders.length} checked, ${complaints.length} complaints`);
  if (complaints.length > 0) process.exitCode = 1;
} finally {
  rmSync(temp, { recursive: true, force: true });
}
