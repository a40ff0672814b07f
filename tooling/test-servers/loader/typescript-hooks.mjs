import { createHash } from 'node:crypto';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { threadId } from 'node:worker_threads';

// What was transformed once is kept: a test run starts hundreds of processes, and each would load esbuild and do the same
// hundred files again.
const cache = join(import.meta.dirname, '../node_modules/.cache/fixtures');

/** @satisfies {import('esbuild').TransformOptions} */
const options = { loader: 'ts', format: 'esm', target: 'node20', sourcemap: 'inline' };

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
  return { format: 'module', source: await toJavaScript(code, fileURLToPath(url)), shortCircuit: true };
}

/**
 * @param {string} code TypeScript
 * @param {string} file what stack traces call it
 */
async function toJavaScript(code, file) {
  const key = createHash('sha256')
    .update(JSON.stringify([options, file, code]))
    .digest('hex');
  const kept = join(cache, `${key}.mjs`);
  try {
    return await readFile(kept, 'utf8');
  } catch {
    // Not there yet.
  }
  const { transform } = await import('esbuild');
  const { code: source } = await transform(code, { ...options, sourcefile: file });
  // Renamed into place: several processes may write the same file, and one may be killed while it does.
  await mkdir(cache, { recursive: true });
  const unfinished = `${kept}.${process.pid}.${threadId}`;
  await writeFile(unfinished, source);
  await rename(unfinished, kept);
  return source;
}

function decode(base64) {
  return Buffer.from(base64, 'base64url').toString('utf8');
}
