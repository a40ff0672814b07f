/** A process that only waits. Arguments: candidate, Redis URL, seconds. Reports the CPU time it took meanwhile. */
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createConfigManager } from '@xiaoke/config';
import { c12 } from './watchers.ts';

const [name = '', url = '', seconds = '10'] = process.argv.slice(2);

async function files(redis: string | undefined): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'bench-config-'));
  const config = await createConfigManager(redis === undefined ? {} : { redis });
  for (const file of ['one.json', 'two.json', 'three.json']) {
    writeFileSync(join(folder, file), JSON.stringify({ [file]: 1 }));
    await config.addFileSource(join(folder, file));
  }
}

const candidates: Readonly<Record<string, () => Promise<unknown>>> = {
  nothing: async () => {},
  files: () => files(undefined),
  'files and redis': () => files(url),
  c12,
};

// Keeps the process alive without doing anything.
const alive = setInterval(() => {}, 2 ** 30);
await candidates[name]?.();
process.send?.({ ready: true });
process.once('message', () => {
  // What setting up left to do is over by then.
  setTimeout(() => {
    const before = process.cpuUsage();
    setTimeout(
      () => {
        const { user, system } = process.cpuUsage(before);
        process.send?.({ cpuMs: (user + system) / 1_000 });
        process.once('message', () => process.exit());
        clearInterval(alive);
      },
      Number(seconds) * 1_000,
    );
  }, 2_000);
});
