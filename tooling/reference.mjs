// Writes docs/reference/<package>.md from the built declarations: every export of every entry, with its comments and
// signature. Error codes come from the sources. `--check` fails when a page is stale. Needs a build.
import { mkdirSync, existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import process, { argv, cwd } from 'node:process';
import { pathToFileURL } from 'node:url';

// The compiler's API, which TypeScript 7 no longer has.
const ts = createRequire(new URL('./checks/package.json', import.meta.url))('typescript60');

const WIDTH = 400;

/** @param {string} root @param {string} folder @returns {string} the page of one package */
function pageOf(root, folder) {
  const manifest = JSON.parse(readFileSync(join(root, folder, 'package.json'), 'utf8'));
  const entries = Object.entries(manifest.exports).filter(([, target]) => typeof target !== 'string');
  const files = entries.map(([, target]) => join(root, folder, target.types));
  const program = ts.createProgram(files, {
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    target: ts.ScriptTarget.ES2022,
    skipLibCheck: true,
    noEmit: true,
    types: ['node'],
    baseUrl: root,
  });
  const checker = program.getTypeChecker();
  const lines = [
    `# ${manifest.name}`,
    '',
    `${manifest.description} Guarantees, options and examples: [README](../../${folder}/README.md).`,
    '',
  ];
  entries.forEach(([key], index) => {
    lines.push(`## \`${manifest.name}${key.slice(1)}\``, '');
    const source = program.getSourceFile(files[index] ?? '');
    const module = source && checker.getSymbolAtLocation(source);
    const exported = module === undefined ? [] : checker.getExportsOfModule(module);
    const sorted = exported.toSorted((/** @type {any} */ a, /** @type {any} */ b) =>
      a.name < b.name ? -1 : 1,
    );
    for (const symbol of sorted) lines.push(...describe(symbol, checker));
  });
  const codes = errorCodes(join(root, folder, 'src'));
  if (codes.length > 0) lines.push('## Error codes', '', ...codes.map((code) => `- \`${code}\``), '');
  return `${lines.join('\n').trimEnd()}\n`;
}

/** @param {any} symbol @param {any} checker @returns {string[]} */
function describe(symbol, checker) {
  const target = symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
  const declaration = target.declarations?.[0];
  if (declaration === undefined) return [];
  return [`### ${symbol.name}`, '', '```ts skip', ...signature(declaration, symbol.name), '```', ''];
}

/** @param {any} declaration @param {string} name @returns {string[]} */
function signature(declaration, name) {
  const file = declaration.getSourceFile();
  const holder = ts.isVariableDeclaration(declaration) ? declaration.parent.parent : declaration;
  const overloads = ts.isFunctionDeclaration(declaration)
    ? file.statements.filter(
        (/** @type {any} */ other) => ts.isFunctionDeclaration(other) && other.name?.text === name,
      )
    : [holder];
  // Members keep their comments: that is where units and defaults stand.
  const printer = ts.createPrinter({ removeComments: false });
  return overloads.flatMap((/** @type {any} */ node) => {
    /** @type {string} */
    const text = printer.printNode(ts.EmitHint.Unspecified, node, file);
    const lines = text.replace(/^(export )?(declare )?(?=\w)/m, '').split('\n');
    // Private state is nobody's business, and `#private` alone says nothing.
    const open = lines.filter((line) => !/^\s*(#private|private )/.test(line));
    return open.map((line) => (line.length > WIDTH ? `${line.slice(0, WIDTH)} …` : line));
  });
}

/** Every code that the sources give to an error. @param {string} folder @returns {string[]} */
function errorCodes(folder) {
  /** @type {Set<string>} */
  const codes = new Set();
  for (const file of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    if (!file.endsWith('.ts')) continue;
    const code = readFileSync(join(folder, file), 'utf8').replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '');
    // A package's table of codes, or a class that names its own.
    const pattern = file.endsWith('errors.ts')
      ? /'([A-Z][A-Z0-9_]{3,})'/g
      : /\bsuper\(\s*'([A-Z][A-Z0-9_]{3,})'/g;
    for (const [, found = ''] of code.matchAll(pattern)) codes.add(found);
  }
  return [...codes].sort();
}

/**
 * Writes the pages that differ, or with `check` only names them.
 *
 * @param {string} root @param {{ check: boolean }} options @returns {string[]} the pages that differed
 */
export function writeReference(root, { check }) {
  mkdirSync(join(root, 'docs/reference'), { recursive: true });
  const stale = readdirSync(join(root, 'packages')).filter((name) => {
    const path = join(root, 'docs/reference', `${name}.md`);
    const page = pageOf(root, join('packages', name));
    if (existsSync(path) && readFileSync(path, 'utf8') === page) return false;
    if (!check) writeFileSync(path, page);
    return true;
  });
  return stale.map((name) => `docs/reference/${name}.md`);
}

if (import.meta.url === pathToFileURL(argv[1] ?? '').href) {
  const check = argv.includes('--check');
  const stale = writeReference(cwd(), { check });
  for (const path of stale) console.error(check ? `${path} is stale: run pnpm reference` : `wrote ${path}`);
  if (check && stale.length > 0) process.exit(1);
}
