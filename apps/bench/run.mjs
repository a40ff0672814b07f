// pnpm bench <package>[/<topic>]: builds, then runs the compiled benches that match, one after the other.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('.', import.meta.url));
const [wanted, ...rest] = process.argv.slice(2);
const dist = join(root, 'dist');

run('tsc', ['-b', root]);
const benches = existsSync(dist)
  ? readdirSync(dist, { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.js') && file.includes('/') && !/support|worker/.test(file))
      .map((file) => file.slice(0, -'.js'.length))
      .sort()
  : [];
const chosen = benches.filter(
  (bench) => wanted !== undefined && (bench === wanted || bench.startsWith(`${wanted}/`)),
);
if (chosen.length === 0) {
  console.error(
    `usage: pnpm bench <package>[/<topic>]\n\n${benches.map((bench) => `  ${bench}`).join('\n')}`,
  );
  process.exit(2);
}
for (const bench of chosen)
  run(process.execPath, ['--expose-gc', relative(root, join(dist, `${bench}.js`)), ...rest]);

function run(command, args) {
  const { status } = spawnSync(command, args, { cwd: root, stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
}
