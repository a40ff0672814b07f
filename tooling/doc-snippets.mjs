// Keeps the examples in READMEs, docs and doc comments true. Every ```ts fence is compiled against the built packages, as a user would
// compile it; a fence marked `ts run` is also executed, and what it prints must equal its `// => …` comments, in order.
// `ts skip` leaves a fence out (for a sketch; the prose around it says why).
//
//   node tooling/doc-snippets.mjs [file …]   all READMEs, docs/ and package sources without arguments; needs a build
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import process, { argv, cwd, execPath } from 'node:process';
import { pathToFileURL } from 'node:url';

/** @typedef {{ where: string; folder: string; code: string; run: boolean }} Snippet */

const FENCE = /^```(?:ts|typescript)(?:[ \t]+([^\n]*))?\n([\s\S]*?)^```/gm;

/**
 * @param {string} root
 * @param {string} file relative to `root`
 * @returns {Snippet[]}
 */
export function snippetsOf(root, file) {
  const whole = readFileSync(join(root, file), 'utf8');
  const text = file.endsWith('.ts') ? commentLines(whole) : whole;
  return [...text.matchAll(FENCE)].flatMap((match) => {
    const [, info = '', code = ''] = match;
    const words = info.split(/\s+/);
    if (words.includes('skip')) return [];
    const line = text.slice(0, match.index).split('\n').length;
    return [{ where: `${file}:${line}`, folder: workspaceOf(root, file), code, run: words.includes('run') }];
  });
}

/** Only the doc comments of a source file, each line in its place. @param {string} source */
function commentLines(source) {
  const lines = source.split('\n').map((line) => /^\s*\*(?!\/) ?(.*)$/.exec(line)?.[1] ?? '');
  return lines.join('\n');
}

/** What the code says it prints. @param {string} code */
export function expectedOutput(code) {
  return [...code.matchAll(/\/\/ => ?(.*)$/gm)].map((match) => (match[1] ?? '').trimEnd());
}

/**
 * A snippet of a package may import what that package may; a page of docs/ may import what the service may, which
 * composes all packages.
 *
 * @param {string} root
 * @param {string} file
 */
function workspaceOf(root, file) {
  for (let folder = dirname(file); folder !== '.'; folder = dirname(folder)) {
    if (existsSync(join(root, folder, 'package.json'))) return folder;
  }
  return 'apps/xiaoke-service';
}

/**
 * @param {string} root
 * @param {string[]} files
 * @returns {{ complaints: string[]; compiled: number; ran: number }}
 */
export function checkSnippets(root, files) {
  const snippets = files.flatMap((file) => snippetsOf(root, file));
  const complaints = [];
  /** @type {string[]} */
  const folders = [];
  try {
    for (const workspace of new Set(snippets.map(({ folder }) => folder))) {
      const own = snippets.filter(({ folder }) => folder === workspace);
      // Inside the package, so that its dependencies and its own name resolve.
      mkdirSync(join(root, workspace, '.snippets'), { recursive: true });
      const folder = mkdtempSync(join(root, workspace, '.snippets/run-'));
      folders.push(folder);
      complaints.push(...checkWorkspace(root, folder, own));
    }
  } finally {
    for (const folder of folders) rmSync(folder, { recursive: true });
  }
  return { complaints, compiled: snippets.length, ran: snippets.filter(({ run }) => run).length };
}

/**
 * @param {string} root
 * @param {string} folder
 * @param {Snippet[]} snippets
 * @returns {string[]}
 */
function checkWorkspace(root, folder, snippets) {
  snippets.forEach(({ code }, i) => writeFileSync(join(folder, `snippet-${i}.ts`), `${code}\nexport {};\n`));
  const compilerOptions = {
    composite: false,
    declaration: false,
    declarationMap: false,
    isolatedDeclarations: false,
    sourceMap: false,
    rootDir: '.',
    outDir: 'js',
    tsBuildInfoFile: null,
    // A user sees dist, not our sources.
    customConditions: [],
  };
  const tsconfig = { extends: join(root, 'tsconfig.base.json'), compilerOptions, include: ['*.ts'] };
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(tsconfig));

  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  const compile = spawnSync(execPath, [tsc, '-p', folder, '--pretty', 'false'], {
    cwd: folder,
    encoding: 'utf8',
  });
  if (compile.status !== 0) return [located(compile.stdout + compile.stderr, snippets)];
  return snippets.flatMap((snippet, i) =>
    snippet.run ? runSnippet(folder, `js/snippet-${i}.js`, snippet) : [],
  );
}

/** Says `README.md:12+3` (line 3 of the fence at line 12) instead of a temporary file. @param {string} text @param {Snippet[]} snippets */
function located(text, snippets) {
  return text
    .trim()
    .replaceAll(/^.*snippet-(\d+)\.ts\((\d+),\d+\)/gm, (_, i, line) => `${snippets[i]?.where}+${line}`);
}

/**
 * @param {string} folder
 * @param {string} file
 * @param {Snippet} snippet
 * @returns {string[]}
 */
function runSnippet(folder, file, { where, code }) {
  const result = spawnSync(execPath, [file], { cwd: folder, encoding: 'utf8', timeout: 60_000 });
  if (result.status !== 0) return [`${where}: ${result.error ?? result.stderr.trim()}`];
  const printed = result.stdout.split('\n').map((line) => line.trimEnd());
  if (printed.at(-1) === '') printed.pop();
  const expected = expectedOutput(code);
  if (JSON.stringify(printed) === JSON.stringify(expected)) return [];
  return [`${where}: prints ${JSON.stringify(printed)}, but says ${JSON.stringify(expected)}`];
}

/** @param {string} root */
function documents(root) {
  const listed = execFileSync(
    'git',
    ['ls-files', '-co', '--exclude-standard', '*.md', 'packages/*/src/*.ts'],
    {
      cwd: root,
      encoding: 'utf8',
    },
  );
  const wanted =
    /^(README\.md|ARCHITECTURE\.md|docs\/.*\.md|(packages|apps|tooling)\/[^/]+\/(README\.md|docs\/.*\.md)|packages\/[^/]+\/src\/.*\.ts)$/;
  return listed.split('\n').filter((path) => wanted.test(path) && existsSync(join(root, path)));
}

if (import.meta.url === pathToFileURL(argv[1] ?? '').href) {
  const root = cwd();
  const files =
    argv.length > 2 ? argv.slice(2).map((file) => relative(root, resolve(file))) : documents(root);
  const { complaints, compiled, ran } = checkSnippets(root, files);
  for (const complaint of complaints) console.error(complaint);
  console.log(`snippets: ${compiled} compiled, ${ran} run, ${complaints.length} complaints`);
  if (complaints.length > 0) process.exitCode = 1;
}
