import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

import { transform } from 'esbuild';

// Code given as a string travels in the address of a file that need not exist; its imports resolve from there.
const INLINE = 'inline-fixture';

/** @type {import('node:module').ResolveHook} */
export function resolve(specifier, context, nextResolve) {
  if (URL.canParse(specifier) && new URL(specifier).searchParams.has(INLINE)) {
    return { url: specifier, format: 'module', shortCircuit: true };
  }
  return nextResolve(specifier, context);
}

/** @type {import('node:module').LoadHook} */
export async function load(url, context, nextLoad) {
  if (!url.startsWith('file:')) return nextLoad(url, context);
  const { pathname, searchParams } = new URL(url);
  if (!/\.[mc]?ts$/.test(pathname)) return nextLoad(url, context);
  const inline = searchParams.get(INLINE);
  const code = inline === null ? await readFile(fileURLToPath(url), 'utf8') : decode(inline);
  const { code: source } = await transform(code, {
    loader: 'ts',
    format: 'esm',
    target: 'node20',
    sourcefile: fileURLToPath(url),
    sourcemap: 'inline',
  });
  return { format: 'module', source, shortCircuit: true };
}

function decode(base64) {
  return Buffer.from(base64, 'base64url').toString('utf8');
}
