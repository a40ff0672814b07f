import { execFile, spawnSync } from 'node:child_process';
import { mkdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { sleep } from '@xiaoke/core';
import { eventually } from '@xiaoke/core/testing';
import { useManagers } from './support.ts';

const { make, folder } = useManagers();
const FILES = ['app.yaml', 'limits.json', 'mail.toml'] as const;
const UNSHARE = 'unshare';
const canMount = spawnSync(UNSHARE, ['-rm', 'true']).status === 0;

function render(name: (typeof FILES)[number], value: number): string {
  const key = name.slice(0, name.indexOf('.'));
  if (name.endsWith('.json')) return JSON.stringify({ [key]: value });
  return name.endsWith('.yaml') ? `${key}: ${value}\n` : `${key} = ${value}\n`;
}

/** A volume as kubelet keeps it: `..data` leads to the newest folder, and each file is a link through `..data`. */
async function mountVolume(base: string): Promise<(value: number) => Promise<void>> {
  let previous: string | undefined;
  const update = async (value: number): Promise<void> => {
    const name = `..2026_11_28_${value}`;
    await mkdir(join(base, name));
    for (const file of FILES) await writeFile(join(base, name, file), render(file, value));
    await symlink(name, join(base, '..data_tmp'));
    await rename(join(base, '..data_tmp'), join(base, '..data'));
    if (previous !== undefined) await rm(join(base, previous), { recursive: true });
    previous = name;
  };
  await update(0);
  for (const file of FILES) await symlink(join('..data', file), join(base, file));
  return update;
}

describe('a Kubernetes volume', () => {
  it('whose files are swapped together makes one change of them, every time', async () => {
    const base = await folder();
    const update = await mountVolume(base);
    const config = await make();
    for (const file of FILES) await config.addFileSource(join(base, file));
    const changes: unknown[] = [];
    config.addChangeCallback(({ snapshot }) => changes.push({ ...snapshot }));
    const rounds = 20;
    for (let value = 1; value <= rounds; value += 1) {
      await update(value);
      await eventually(() => ['app', 'limits', 'mail'].every((key) => config.get(key) === value));
    }
    await sleep(150);
    const expected = Array.from({ length: rounds }, (_, index) => index + 1);
    expect(changes).toEqual(expected.map((value) => ({ app: value, limits: value, mail: value })));
    expect(config.stats()).toMatchObject({ state: 'ready', rejected: 0 });
  });

  it('that holds a broken file keeps what was in force of all of them that do not fit, until it is put right', async () => {
    const base = await folder();
    const update = await mountVolume(base);
    const config = await make();
    for (const file of FILES) await config.addFileSource(join(base, file));
    const data = join(base, '..data', 'app.yaml');
    await writeFile(data, 'app: [1\n');
    await eventually(() => config.stats().state === 'degraded');
    expect(config.snapshot()).toEqual({ app: 0, limits: 0, mail: 0 });
    await update(1);
    await eventually(() => config.get('app') === 1 && config.stats().state === 'ready');
    expect(await readFile(data, 'utf8')).toBe('app: 1\n');
  });

  it.skipIf(!canMount)(
    'of which one file alone is mounted is told to be out of reach of updates',
    async () => {
      const base = await folder();
      const [outside, inside] = [join(base, 'outside.yaml'), join(base, 'in side.yaml')];
      await writeFile(outside, 'a: 1\n');
      await writeFile(inside, '');
      const loader = fileURLToPath(
        new URL('../../../tooling/test-servers/loader/run-fixture.mjs', import.meta.url),
      );
      const program = new URL('./fixtures/mounted-file.ts', import.meta.url).href;
      const run = `exec "$0" --conditions=@xiaoke/source --no-warnings "$1" "$2" "$3"`;
      const notes = async (prefix: string): Promise<string> => {
        const args = [
          '-rm',
          'sh',
          '-c',
          `${prefix} ${run}`,
          process.execPath,
          loader,
          program,
          inside,
          outside,
        ];
        const { stdout } = await promisify(execFile)(UNSHARE, args, {
          env: { ...process.env, NODE_OPTIONS: '' },
        });
        return stdout;
      };
      expect(await notes('mount --bind "$4" "$3" &&')).toContain('the file is itself a mount');
      await writeFile(inside, 'a: 2\n');
      expect(await notes('')).not.toContain('mount');
    },
  );
});
