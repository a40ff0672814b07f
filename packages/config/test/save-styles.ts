import { mkdir, open, rename, rm, symlink, unlink, utimes, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { sleep } from '@xiaoke/core';

/** One way in which editors, tools and platforms replace a file's content. */
export interface SaveStyle {
  readonly name: string;
  /** Prepares a folder holding `text`; gives the path to be configured, which may not exist yet. */
  readonly prepare: (folder: string, name: string, text: string) => Promise<string>;
  /** Saves; `texts` ends with the final content, earlier ones are saved on the way there. */
  readonly save: (path: string, text: string, step: SaveStep) => Promise<void>;
  /** Whether nothing is there at first, so that it works once only. */
  readonly late?: boolean;
}

/** What a save may need beside its text. */
export interface SaveStep {
  readonly number: number;
  /** Another whole document, for styles that save more than once. */
  readonly other: (index: number) => string;
}

async function plain(folder: string, name: string, text: string): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, text);
  return path;
}

async function replace(path: string, text: string, tag: string): Promise<void> {
  const temporary = join(dirname(path), `.${tag}.tmp`);
  await writeFile(temporary, text);
  await rename(temporary, path);
}

async function swapLink(target: string, path: string): Promise<void> {
  await symlink(target, `${path}.new`);
  await rename(`${path}.new`, path);
}

async function inChunks(path: string, text: string, pause: number): Promise<void> {
  const file = await open(path, 'w');
  const half = Math.floor(text.length / 2);
  await file.write(text.slice(0, half));
  await sleep(pause);
  await file.write(text.slice(half));
  await file.close();
}

/** The fourteen styles. */
export const SAVE_STYLES: readonly SaveStyle[] = [
  { name: 'in place', prepare: plain, save: (path, text) => writeFile(path, text) },
  { name: 'a temporary file renamed', prepare: plain, save: (path, text) => replace(path, text, 'save') },
  {
    name: 'a backup as vim makes it',
    prepare: plain,
    save: async (path, text) => {
      await rename(path, `${path}~`);
      await writeFile(path, text);
      await unlink(`${path}~`);
    },
  },
  { name: 'two chunks 30 ms apart', prepare: plain, save: (path, text) => inChunks(path, text, 30) },
  {
    name: 'deleted and made again 50 ms later',
    prepare: plain,
    save: async (path, text) => {
      await unlink(path);
      await sleep(50);
      await writeFile(path, text);
    },
  },
  {
    name: 'the swap of a Kubernetes volume',
    prepare: async (folder, name, text) => {
      await mkdir(join(folder, '..v0'));
      await writeFile(join(folder, '..v0', name), text);
      await symlink('..v0', join(folder, '..data'));
      await symlink(join('..data', name), join(folder, name));
      return join(folder, name);
    },
    save: async (path, text, { number }) => {
      const folder = dirname(path);
      await mkdir(join(folder, `..v${number}`));
      await writeFile(join(folder, `..v${number}`, path.slice(folder.length + 1)), text);
      await swapLink(`..v${number}`, join(folder, '..data'));
      await rm(join(folder, `..v${number - 1}`), { recursive: true });
    },
  },
  {
    name: 'two saves 20 ms apart',
    prepare: plain,
    save: async (path, text, { other }) => {
      await writeFile(path, other(0));
      await sleep(20);
      await writeFile(path, text);
    },
  },
  {
    name: 'two renames 20 ms apart',
    prepare: plain,
    save: async (path, text, { other }) => {
      await replace(path, other(0), 'first');
      await sleep(20);
      await replace(path, text, 'second');
    },
  },
  {
    name: 'a burst of ten saves',
    prepare: plain,
    save: async (path, text, { other }) => {
      for (let index = 0; index < 9; index += 1) {
        await writeFile(path, other(index));
        await sleep(5);
      }
      await writeFile(path, text);
    },
  },
  {
    name: 'the modification time set back',
    prepare: async (folder, name, text) => {
      const path = await plain(folder, name, text);
      await utimes(path, 1_000_000_000, 1_000_000_000);
      return path;
    },
    save: async (path, text) => {
      await writeFile(path, text);
      await utimes(path, 1_000_000_000, 1_000_000_000);
    },
  },
  {
    name: 'a link led elsewhere',
    prepare: async (folder, name, text) => {
      await writeFile(join(folder, `0-${name}`), text);
      await symlink(`0-${name}`, join(folder, name));
      return join(folder, name);
    },
    save: async (path, text, { number }) => {
      const name = path.slice(dirname(path).length + 1);
      await writeFile(join(dirname(path), `${number}-${name}`), text);
      await swapLink(`${number}-${name}`, path);
    },
  },
  {
    name: 'a link to the current release folder',
    prepare: async (folder, name, text) => {
      await mkdir(join(folder, 'releases', '0'), { recursive: true });
      await writeFile(join(folder, 'releases', '0', name), text);
      await symlink('releases/0', join(folder, 'current'));
      return join(folder, 'current', name);
    },
    save: async (path, text, { number }) => {
      const folder = dirname(dirname(path));
      await mkdir(join(folder, 'releases', String(number)));
      await writeFile(join(folder, 'releases', String(number), path.slice(dirname(path).length + 1)), text);
      await swapLink(`releases/${number}`, join(folder, 'current'));
    },
  },
  {
    name: 'a file made late',
    late: true,
    prepare: async (folder, name) => join(folder, name),
    save: (path, text) => writeFile(path, text),
  },
  {
    name: 'a folder made late',
    late: true,
    prepare: async (folder, name) => join(folder, 'made', 'late', name),
    save: async (path, text) => {
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, text);
    },
  },
];
