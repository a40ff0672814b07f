// What a published package must satisfy, as functions that return complaints; check-packages.mjs runs them on the packed
// tarballs, tooling/checks/test/package-checks.test.ts breaks each on purpose.
import { execFile } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { execPath } from 'node:process';

/** @typedef {Record<string, string | Record<string, string>>} Exports */
/** @typedef {{ name: string; exports: Exports; publishConfig?: { exports?: Exports }; dependencies?: Record<string, string>; devDependencies?: Record<string, string>; peerDependencies?: Record<string, string> }} Manifest */

const SOURCE = '@xiaoke/source';

/**
 * The specifiers under which a consumer reaches the code of a package.
 *
 * @param {Pick<Manifest, 'name' | 'exports'>} manifest
 */
export function entriesOf({ name, exports }) {
  return Object.keys(exports)
    .filter((key) => key !== './package.json')
    .map((key) => name + key.slice(1));
}

/**
 * The manifest in the repository: what is published equals what is developed, less the way to the sources; every entry
 * was built; no sibling package is a dependency.
 *
 * @param {string} folder
 * @returns {string[]}
 */
export function manifestComplaints(folder) {
  /** @type {Manifest} */
  const manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  const { name, exports, publishConfig = {}, dependencies, peerDependencies, devDependencies } = manifest;
  const complaints = [];

  const expected = Object.entries(exports).map(([key, target]) => {
    if (typeof target === 'string') return [key, target];
    return [key, Object.fromEntries(Object.entries(target).filter(([condition]) => condition !== SOURCE))];
  });
  if (JSON.stringify(Object.fromEntries(expected)) !== JSON.stringify(publishConfig.exports)) {
    complaints.push(`${name}: publishConfig.exports is not exports without "${SOURCE}"`);
  }
  for (const target of Object.values(exports)) {
    for (const path of typeof target === 'string' ? [target] : Object.values(target)) {
      if (!existsSync(join(folder, path))) complaints.push(`${name}: ${path} does not exist`);
    }
  }
  for (const dependency of Object.keys({ ...dependencies, ...peerDependencies, ...devDependencies })) {
    const allowed =
      name === '@xiaoke/core' ? ['@xiaoke/test-servers'] : ['@xiaoke/core', '@xiaoke/test-servers'];
    if (dependency.startsWith('@xiaoke/') && !allowed.includes(dependency)) {
      complaints.push(`${name}: depends on ${dependency}; packages stand on @xiaoke/core only`);
    }
  }
  if ('@xiaoke/test-servers' in { ...dependencies, ...peerDependencies }) {
    complaints.push(`${name}: the private @xiaoke/test-servers would be a dependency of its users`);
  }
  return complaints;
}

// The Registry of prom-client is what the user's own exporter holds, so it has to be the same type.
const FOREIGN_TYPES = new Map([['@xiaoke/metrics', ['prom-client']]]);
const IMPORTS = [
  /\bfrom\s+['"]([^'"]+)['"]/g,
  /\bimport\(\s*['"]([^'"]+)['"]/g,
  /^import\s+['"]([^'"]+)['"]/gm,
];

/**
 * The emitted declarations name no type of a third party: its next major would be ours.
 *
 * @param {string} name the package
 * @param {string} folder the package, unpacked or built
 * @returns {string[]}
 */
export function declarationComplaints(name, folder) {
  const allowed = [
    '@xiaoke/core',
    '@xiaoke/core/redis',
    '@xiaoke/core/testing',
    ...(FOREIGN_TYPES.get(name) ?? []),
  ];
  const dist = join(folder, 'dist');
  const files = readdirSync(dist, { recursive: true, encoding: 'utf8' }).filter((path) =>
    path.endsWith('.d.ts'),
  );
  return files.flatMap((path) => {
    const text = readFileSync(join(dist, path), 'utf8').replaceAll(/\/\*[\s\S]*?\*\//g, '');
    const specifiers = IMPORTS.flatMap((pattern) =>
      [...text.matchAll(pattern)].map((match) => match[1] ?? ''),
    );
    const foreign = specifiers.filter((s) => !/^(\.|node:)/.test(s) && !allowed.includes(s));
    return foreign.map((specifier) => `${name}: dist/${path} names a type of ${specifier}`);
  });
}

/**
 * Everything an entry exports says what it is for: a doc comment stands directly above its declaration.
 *
 * @param {Pick<Manifest, 'name' | 'exports'>} manifest
 * @param {string} folder the package, unpacked or built
 * @returns {string[]}
 */
export function commentComplaints({ name, exports }, folder) {
  const targets = Object.values(exports).flatMap((target) =>
    typeof target === 'string' ? [] : [target['types'] ?? ''],
  );
  const complaints = targets.flatMap((types) => undocumented(join(folder, types), undefined));
  return [...new Set(complaints)].map((what) => `${name}: no doc comment above ${what}`);
}

const DECLARATION =
  /^export (?:declare )?(?:abstract )?(?:class|interface|type|function|const|let|namespace) (\w+)/;
const REEXPORT = /^export (?:type )?(?:\*|\{([^}]*)\}) from ['"](\.[^'"]+)['"]/gm;

/**
 * @param {string} path a .d.ts file, written by the compiler, so its layout is known
 * @param {Set<string> | undefined} names those that matter; all, if undefined
 * @returns {string[]}
 */
function undocumented(path, names) {
  const text = readFileSync(path, 'utf8');
  const lines = text.split('\n');
  const seen = new Set();
  const found = [];
  for (const [i, line] of lines.entries()) {
    const name = DECLARATION.exec(line)?.[1];
    // Of overloads, and of a type and a value with one name, the first speaks for all.
    if (name === undefined || seen.has(name) || (names && !names.has(name))) continue;
    seen.add(name);
    if (!lines[i - 1]?.trimEnd().endsWith('*/')) found.push(name);
  }
  const deeper = [...text.matchAll(REEXPORT)].flatMap(([, list, from = '']) => {
    const exported =
      list?.split(',').map((item) =>
        item
          .trim()
          .replace(/^type /, '')
          .split(' as '),
      ) ?? [];
    const wanted = exported
      .filter(([local, alias = local]) => !names || names.has(alias ?? ''))
      .map(([local]) => local ?? '');
    const target = join(dirname(path), from.replace(/\.[jt]s$/, '.d.ts'));
    return undocumented(target, list === undefined ? names : new Set(wanted));
  });
  return [...found, ...deeper];
}

/**
 * Every entry can be imported, and required: the second fails on a top-level await anywhere below it.
 *
 * @param {string} consumer a folder whose node_modules holds the packages
 * @param {string[]} entries
 * @returns {Promise<string[]>}
 */
export async function loadComplaints(consumer, entries) {
  const load = (/** @type {string} */ how) => `
const failed = [];
for (const entry of ${JSON.stringify(entries)}) {
  try { ${how}(entry); } catch (error) { failed.push(entry + ': ' + '${how}'.replace('await ', '') + '() fails: ' + error); }
}
console.log(JSON.stringify(failed));`;
  writeFileSync(join(consumer, 'load.mjs'), load('await import'));
  writeFileSync(join(consumer, 'load.cjs'), load('require'));
  const outcomes = await Promise.all(
    ['load.mjs', 'load.cjs'].map((file) => output(execPath, [file], consumer)),
  );
  // A module that exits or keeps the process alive leaves no list: that is a complaint too.
  return outcomes.flatMap(({ code, text }) =>
    code === 0 ? JSON.parse(text) : [`loading the entries: ${text}`],
  );
}

/**
 * A strict consumer, library check on, finds no error in our declarations.
 *
 * @param {string} consumer
 * @param {string[]} entries
 * @param {Record<string, string>} compilers label to path of tsc
 * @returns {Promise<string[]>}
 */
export async function typeComplaints(consumer, entries, compilers) {
  const lines = entries.map((entry, i) => `import * as entry${i} from '${entry}';\nexport { entry${i} };\n`);
  writeFileSync(join(consumer, 'consumer.mts'), lines.join(''));
  const compilerOptions = {
    target: 'es2022',
    lib: ['es2023', 'esnext.disposable'],
    module: 'nodenext',
    strict: true,
    exactOptionalPropertyTypes: true,
    noEmit: true,
    types: ['node'],
  };
  writeFileSync(
    join(consumer, 'tsconfig.json'),
    JSON.stringify({ compilerOptions, files: ['consumer.mts'] }),
  );
  const complaints = [];
  for (const [label, tsc] of Object.entries(compilers)) {
    const { text, code } = await output(execPath, [tsc, '-p', '.', '--pretty', 'false'], consumer);
    // Errors inside other people's declarations are not ours to mend.
    const ours = text.split('\n').filter((line) => /^(node_modules\/@xiaoke\/|consumer\.mts)/.test(line));
    complaints.push(...ours.map((line) => `TypeScript ${label}: ${line}`));
    if (code !== 0 && !text.includes('error TS')) complaints.push(`TypeScript ${label}: ${text}`);
  }
  return complaints;
}

/**
 * @param {string} file
 * @param {string[]} args
 * @param {string} folder
 * @returns {Promise<{ code: number; text: string }>}
 */
export function output(file, args, folder) {
  return new Promise((resolve) => {
    const options = { cwd: folder, maxBuffer: 64 * 1024 * 1024, timeout: 300_000 };
    const child = execFile(file, args, options, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : 1, text: error === null ? stdout : `${stdout}${stderr}` });
    });
    child.stdin?.end();
  });
}
