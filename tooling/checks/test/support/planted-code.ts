/** A violation of a rule, or code that must not be taken for one; `files` is path to source, the first is the judged one. */
interface Case {
  readonly what: string;
  readonly files: Readonly<Record<string, string>>;
}

interface Violation extends Case {
  readonly rule: string;
}

let count = 0;

/** A file of its own for every case, so that one report cannot hide another. */
function at(folder: string, source: string, name = 'planted'): Record<string, string> {
  count += 1;
  return {
    [`${folder}/${name.includes('.') ? name.replace('.', `-${count}.`) : `${name}-${count}`}.ts`]: `${source}\n`,
  };
}

function bad(what: string, rule: string, folder: string, source: string, name?: string): Violation {
  return { what, rule, files: at(folder, source, name) };
}

function good(what: string, folder: string, source: string, name?: string): Case {
  return { what, files: at(folder, source, name) };
}

const src = 'packages/lock/src';
const imports = 'no-restricted-imports';
const properties = 'no-restricted-properties';
const globals = 'no-restricted-globals';
const repeat = (line: string, times: number): string => Array.from({ length: times }, () => line).join('\n');

export const planted: readonly Violation[] = [
  bad(
    'a promise nobody waits for',
    'no-floating-promises',
    src,
    'export const f = (): void => { Promise.resolve(1); };',
  ),
  bad(
    'a promise nobody waits for, in a test',
    'no-floating-promises',
    'packages/lock/test',
    'Promise.reject(new Error("x"));',
  ),
  bad(
    'an async listener whose rejection nobody sees',
    'no-misused-promises',
    src,
    'export const f = (on: (l: () => void) => void): void => on(async () => { await Promise.resolve(); });',
  ),
  bad(
    'a promise where a condition stands',
    'no-misused-promises',
    src,
    'export const f = (p: Promise<boolean>): number => { if (p) return 1; return 2; };',
  ),
  bad(
    'a returned promise that escapes its try',
    'return-await',
    src,
    'export async function f(g: () => Promise<number>): Promise<number> { try { return g(); } catch { return 0; } }',
  ),
  bad('any', 'no-explicit-any', src, 'export const f = (x: any): unknown => x;'),
  bad(
    'a non-null assertion',
    'no-non-null-assertion',
    src,
    'export const f = (x?: string): number => x!.length;',
  ),
  bad(
    'a switch that forgets a state',
    'switch-exhaustiveness-check',
    src,
    "export function f(s: 'a' | 'b'): void { switch (s) { case 'a': throw new Error('a'); } }",
  ),
  bad(
    'a type imported as a value',
    'consistent-type-imports',
    src,
    "import { Buffer } from 'node:buffer'; export const f = (x: Buffer): unknown => x;",
  ),
  bad('a thrown string', 'only-throw-error', src, "export const f = (): never => { throw 'x'; };"),
  bad('a default export', 'no-default-export', src, 'export default 1;'),
  bad('a loose comparison', 'eqeqeq', src, 'export const f = (a: number, b: number): boolean => a == b;'),
  bad('an unused variable', 'no-unused-vars', src, 'const x = 1; export const y = 2;'),
  bad(
    'a disable comment that disables nothing',
    'Unused',
    src,
    '// oxlint-disable-next-line no-console\nexport const x = 1;',
  ),
  {
    what: 'an import cycle',
    rule: 'no-cycle',
    files: {
      [`${src}/cycle-a.ts`]: "import { b } from './cycle-b.ts';\nexport const a = (): number => b();\n",
      [`${src}/cycle-b.ts`]: "import { a } from './cycle-a.ts';\nexport const b = (): number => a();\n",
    },
  },
  bad('a file over 400 lines', 'max-lines', src, repeat('// line', 401)),
  bad(
    'nesting deeper than three',
    'max-depth',
    src,
    'export function f(a: boolean): number { if (a) { for (;;) { while (a) { if (a) { return 1; } } } } return 2; }',
  ),
  bad(
    'a function with too many branches',
    'complexity',
    src,
    `export function f(a: number): number { ${repeat('if (a) return 1;', 16)} return 2; }`,
  ),
  bad(
    'a function too long to read',
    'max-lines-per-function',
    src,
    `export function f(a: number[]): void {\n${repeat('a.push(1);', 61)}\n}`,
  ),
  bad(
    'a list of parameters that should be an object',
    'max-params',
    src,
    'export const f = (a: 1, b: 1, c: 1, d: 1, e: 1): number => a + b + c + d + e;',
  ),
  bad(
    'a focused test',
    'no-focused-tests',
    'packages/lock/test',
    "import { test } from 'vitest'; test.only('x', () => {});",
  ),
  bad(
    'a skipped test',
    'no-disabled-tests',
    'packages/lock/test',
    "import { test } from 'vitest'; test.skip('x', () => {});",
  ),

  bad('a write to the console', 'no-console', src, "console.log('x');"),
  bad('an exit of the process', 'no-process-exit', src, 'export const f = (): never => process.exit(1);'),
  bad('a global timeout', globals, src, 'export const f = (g: () => void): unknown => setTimeout(g, 1);'),
  bad('a global interval', globals, src, 'export const f = (g: () => void): unknown => setInterval(g, 1);'),
  bad(
    'a timeout by way of globalThis',
    properties,
    src,
    'export const f = (g: () => void): unknown => globalThis.setTimeout(g, 1);',
  ),
  bad(
    'a wait on node:timers/promises',
    imports,
    src,
    "import { setTimeout as wait } from 'node:timers/promises'; export const f = wait;",
  ),
  bad('the wall clock', properties, src, 'export const now = (): number => Date.now();'),
  bad('unseeded randomness', properties, src, 'export const f = (): number => Math.random();'),
  bad('the environment', properties, src, "export const f = (): unknown => process.env['HOME'];"),
  bad(
    'the environment, destructured',
    properties,
    src,
    'export const f = (): unknown => { const { env } = process; return env; };',
  ),
  bad('the environment, imported', imports, src, "import { env } from 'node:process'; export const f = env;"),
  bad(
    'the environment read by a conformance suite',
    properties,
    `${src}/testing`,
    "export const f = (): unknown => process.env['HOME'];",
  ),
  bad('a process listener', properties, src, "process.on('SIGTERM', () => {});"),
  bad(
    'a process listener in the config package',
    properties,
    'packages/config/src',
    "process.once('SIGHUP', () => {});",
  ),
  bad(
    'the wall clock in core, outside of the clock',
    properties,
    'packages/core/src',
    'export const now = (): number => Date.now();',
  ),

  bad('an import of another package', imports, src, "export * from '@xiaoke/cache';"),
  bad(
    'a type import of another package',
    imports,
    src,
    "import type { X } from '@xiaoke/cache'; export type Y = X;",
  ),
  bad('an import of an entry of another package', imports, src, "export * from '@xiaoke/cache/testing';"),
  bad('an import of a package that starts like core', imports, src, "export * from '@xiaoke/core-extras';"),
  bad('a deep import of core', imports, src, "export * from '@xiaoke/core/src/clock.ts';"),
  bad(
    'an import of core/testing outside of src/testing',
    imports,
    src,
    "export * from '@xiaoke/core/testing';",
  ),
  bad('an import of the test servers', imports, src, "export * from '@xiaoke/test-servers';"),
  bad(
    'an import of the test servers by a conformance suite',
    imports,
    `${src}/testing`,
    "export * from '@xiaoke/test-servers';",
  ),
  bad(
    'an import of another package by a conformance suite',
    imports,
    `${src}/testing`,
    "export * from '@xiaoke/cache';",
  ),
  bad('an import of another package by a backend', imports, `${src}/redis`, "export * from '@xiaoke/cache';"),
  bad('a relative way into another package', imports, src, "export * from '../../cache/src/index.ts';"),
  bad('an import by core', imports, 'packages/core/src', "export * from '@xiaoke/lock';"),
  bad('an import of itself by core', imports, 'packages/core/src/testing', "export * from '@xiaoke/core';"),
  bad(
    'a redis backend that uses the memory backend',
    imports,
    `${src}/redis`,
    "export * from '../memory/backend.ts';",
  ),
  bad(
    'a memory backend that uses the redis backend',
    imports,
    `${src}/memory`,
    "export * from '../redis/keys.ts';",
  ),
  bad(
    'a rabbitmq backend that uses the redis backend',
    imports,
    `${src}/rabbitmq`,
    "export * from '../redis/index.ts';",
  ),
  bad(
    'a redis backend that uses the rabbitmq backend',
    imports,
    `${src}/redis/deeper`,
    "export * from '../../rabbitmq/index.ts';",
  ),
  bad(
    'an undeclared entry used by an app',
    imports,
    'apps/xiaoke-service/src',
    "export * from '@xiaoke/queue/dist/worker.js';",
  ),
];

export const legal: readonly Case[] = [
  good(
    'core and its redis entry in a package',
    `${src}/redis`,
    "export * from '@xiaoke/core';\nexport * from '@xiaoke/core/redis';",
  ),
  good(
    'core/testing in a conformance suite',
    `${src}/testing`,
    "export * from '@xiaoke/core';\nexport * from '@xiaoke/core/testing';",
  ),
  good(
    'core/testing and the servers in a test',
    'packages/lock/test',
    "export * from '@xiaoke/core/testing';\nexport * from '@xiaoke/test-servers';",
  ),
  good(
    'a backend that uses the concept beside it',
    `${src}/redis`,
    "export * from '../in-memory-of.ts';\nexport * from './scripts.generated.ts';",
  ),
  good(
    'the monotonic clock',
    src,
    'export const f = (): number => performance.now() + Number(process.hrtime.bigint());',
  ),
  good(
    'the next turn of the event loop',
    src,
    'export const f = (g: () => void): void => { setImmediate(g); queueMicrotask(g); };',
  ),
  good(
    'the environment in the config package',
    'packages/config/src',
    "export const home = (): unknown => process.env['HOME'];",
  ),
  {
    what: 'time and chance in core/src/clock.ts',
    files: {
      'packages/core/src/clock.ts':
        'export const f = (g: () => void): unknown => [setTimeout(g, Date.now()), Math.random()];\n',
    },
  },
  good(
    'real time in a conformance suite',
    `${src}/testing`,
    'export const f = (g: () => void): unknown => setTimeout(g, Date.now());',
  ),
  good(
    'the default export of a worker module',
    'packages/queue/test/workers',
    'export default (): number => 1;',
  ),
  good(
    'the default export of a worker beside a test',
    'packages/queue/test',
    'export default (): number => 1;',
    'slow.worker',
  ),
  good(
    'every package in an app',
    'apps/xiaoke-service/src',
    "export * from '@xiaoke/queue';\nexport * from '@xiaoke/queue/testing';",
  ),
];
