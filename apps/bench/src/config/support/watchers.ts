/** Libraries that follow a file, each telling when it has a new value. */
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createConfigManager } from '@xiaoke/config';
import { watchConfig } from 'c12';

/** A file that is followed. */
export interface Watched {
  readonly path: string;
  /** Resolves when the library next says that something changed, with the value it then has. */
  next(): Promise<unknown>;
  close(): Promise<unknown>;
}

/** About 10 KB of JSON whose first value is `value`. */
export function render(value: number): string {
  const filling = Array.from({ length: 300 }, (_, index) => [`key${index}`, `text number ${index}`] as const);
  return JSON.stringify({ value, ...Object.fromEntries(filling) }, null, 2);
}

function signal(): { next: () => Promise<unknown>; tell: (value: unknown) => void } {
  let waiting: ((value: unknown) => void) | undefined;
  return {
    next: () =>
      new Promise((resolve) => {
        waiting = resolve;
      }),
    tell: (value) => waiting?.(value),
  };
}

/** `@xiaoke/config`, as it comes. */
export async function xiaoke(): Promise<Watched> {
  const path = join(mkdtempSync(join(tmpdir(), 'bench-config-')), 'app.json');
  writeFileSync(path, render(0));
  const config = await createConfigManager();
  const { next, tell } = signal();
  await config.addFileSource(path);
  config.subscribe('value', tell);
  return { path, next, close: () => config.close() };
}

/** c12's `watchConfig`, as it comes. */
export async function c12(): Promise<Watched> {
  const cwd = mkdtempSync(join(tmpdir(), 'bench-config-'));
  const path = join(cwd, 'app.config.json');
  writeFileSync(path, render(0));
  const { next, tell } = signal();
  const config = await watchConfig({
    cwd,
    name: 'app',
    rcFile: false,
    globalRc: false,
    packageJson: false,
    dotenv: false,
    onUpdate: ({ newConfig }) => tell((newConfig.config as { value?: unknown }).value),
  });
  // Its watcher is not ready when the promise resolves.
  await new Promise((resolve) => setTimeout(resolve, 500));
  return { path, next, close: () => config.unwatch() };
}
