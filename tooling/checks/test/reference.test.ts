import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { writeReference } from '../../reference.mjs';

let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'reference-'));
  write(
    'packages/gate/package.json',
    JSON.stringify({
      name: '@xiaoke/gate',
      description: 'Opens.',
      exports: { '.': { types: './dist/index.d.ts' }, './package.json': './package.json' },
    }),
  );
  write(
    'packages/gate/dist/index.d.ts',
    [
      '/** Opens it. */',
      'export declare function open(wide: boolean): void;',
      'export declare function open(): void;',
      '/** A gate. */',
      'export declare class Gate {',
      '    #private;',
      '    /** Metres. @default 2 */',
      '    readonly width: number;',
      '}',
      '',
    ].join('\n'),
  );
  write('packages/gate/src/errors.ts', "// 'NOT_A_CODE'\nexport const CODES = ['GATE_STUCK'];\n");
  write(
    'packages/gate/src/gate.ts',
    "class E extends Error {}\nclass S extends E { constructor() { super('GATE_SHUT'); } }\n",
  );
});
afterEach(() => rmSync(root, { recursive: true }));

function write(path: string, text: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), text);
}

test('a page shows every export with its comments and every error code, and nothing private', () => {
  expect(writeReference(root, { check: false })).toEqual(['docs/reference/gate.md']);
  expect(readFileSync(join(root, 'docs/reference/gate.md'), 'utf8')).toBe(`# @xiaoke/gate

Opens. Guarantees, options and examples: [README](../../packages/gate/README.md).

## \`@xiaoke/gate\`

### Gate

\`\`\`ts skip
/** A gate. */
class Gate {
    /** Metres. @default 2 */
    readonly width: number;
}
\`\`\`

### open

\`\`\`ts skip
/** Opens it. */
function open(wide: boolean): void;
function open(): void;
\`\`\`

## Error codes

- \`GATE_SHUT\`
- \`GATE_STUCK\`
`);
  expect(writeReference(root, { check: true })).toEqual([]);
});

test('a page that no longer says what the package exports is named', () => {
  writeReference(root, { check: false });
  write('packages/gate/dist/index.d.ts', 'export declare const open: 1;\n');
  expect(writeReference(root, { check: true })).toEqual(['docs/reference/gate.md']);
});
