import { fork } from 'node:child_process';
import { pathToFileURL } from 'node:url';

import { NodeProcess } from './node-process.ts';
import { processGuard } from './process-guard.ts';

/** What {@link spawnNode} runs. */
export interface SpawnNodeOptions {
  /** Arguments after the script, as in `process.argv.slice(2)`. */
  readonly args?: readonly string[];
  /** Added to the environment of the tests. */
  readonly env?: NodeJS.ProcessEnv;
  /** Arguments of Node itself, such as `['--expose-gc']`. */
  readonly execArgv?: readonly string[];
}

/** A script given as text: an ES module in TypeScript. */
export interface InlineScript {
  readonly code: string;
  /** Whose imports it shares: `import.meta.url` of the test. */
  readonly from: string;
}

/**
 * Runs a TypeScript file, or a piece of TypeScript, in a Node process of its own.
 *
 * Workspace packages resolve to their sources. The child reports by `process.send?.(message)` and is told by
 * `process.on('message')`. It dies with the test process, however that ends.
 *
 * @param script - a file (URL or path) or `{ code, from }`.
 * @example
 * ```ts
 * await using worker = spawnNode(new URL('./fixtures/worker.ts', import.meta.url), { args: [redis.url] });
 * await worker.message((m) => m.kind === 'ready');
 * await worker.kill('SIGKILL');
 * ```
 */
export function spawnNode(script: URL | string | InlineScript, options: SpawnNodeOptions = {}): NodeProcess {
  const { args = [], env, execArgv = [] } = options;
  const loader = new URL('../loader/run-fixture.mjs', import.meta.url);
  const child = fork(loader, [toUrl(script).href, ...args], {
    // Nothing of the test runner's own arguments and hooks may leak into the fixture.
    execArgv: ['--conditions=@xiaoke/source', '--enable-source-maps', '--no-warnings', ...execArgv],
    env: { ...process.env, NODE_OPTIONS: '', ...env },
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    detached: true,
  });
  const { pid } = child;
  if (pid !== undefined) {
    processGuard().watch(pid);
    child.once('exit', () => processGuard().forget(pid));
  }
  return new NodeProcess(child);
}

function toUrl(script: URL | string | InlineScript): URL {
  if (script instanceof URL) return script;
  if (typeof script === 'string') return script.startsWith('file:') ? new URL(script) : pathToFileURL(script);
  const url = new URL('./inline.ts', script.from);
  url.searchParams.set('inline-fixture', Buffer.from(script.code).toString('base64url'));
  return url;
}
