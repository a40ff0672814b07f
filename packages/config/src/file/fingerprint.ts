import { lstat, readlink, realpath, stat } from 'node:fs/promises';
import { dirname, isAbsolute, join, parse, relative, resolve, sep } from 'node:path';

/** What tells two states of a file apart without reading it. */
export interface Fingerprint {
  readonly key: string;
  /** Where the path leads, links followed. */
  readonly real: string;
  readonly inode: bigint;
  readonly size: bigint;
  /** When the inode last changed, in milliseconds since the epoch; it cannot be set back as `mtime` can. */
  readonly changedAt: number;
  readonly regular: boolean;
}

/** The file's fingerprint, or the system's code of why there is none, such as `ENOENT`. */
export async function fingerprint(path: string): Promise<Fingerprint | string> {
  try {
    const real = await realpath(path);
    const found = await stat(real, { bigint: true });
    const { ino: inode, size, mtimeNs, ctimeNs } = found;
    const changedAt = Number(ctimeNs / 1_000_000n);
    const key = `${real}|${inode}|${size}|${mtimeNs}|${ctimeNs}`;
    return { key, real, inode, size, changedAt, regular: found.isFile() };
  } catch (error) {
    return typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : 'UNKNOWN';
  }
}

/**
 * What one question to the system tells of the file that a path leads to; enough to see that nothing happened. Without the
 * way there, and so not enough to tell a swap from a write.
 */
export async function glance(path: string): Promise<{ readonly key: string; readonly changedAt: number }> {
  try {
    const { ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
    return { key: `${ino}|${size}|${mtimeNs}|${ctimeNs}`, changedAt: Number(ctimeNs / 1_000_000n) };
  } catch (error) {
    const code = typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : '';
    return { key: code, changedAt: 0 };
  }
}

const MAX_LINKS = 40;

/**
 * The names to watch, by folder: the file in its folder, every symbolic link on the way to it in its own, and for what
 * does not exist yet, the first missing name in the nearest folder that does. A watch on the file itself would follow the
 * old inode after a rename, and see nothing of a swapped link.
 */
export async function watchPoints(path: string): Promise<Map<string, Set<string>>> {
  const points = new Map<string, Set<string>>();
  const add = (folder: string, name: string): void => {
    const names = points.get(folder) ?? new Set();
    points.set(folder, names.add(name));
  };
  let target = resolve(path);
  for (let hops = 0; hops < MAX_LINKS; hops += 1) {
    const next = await firstLink(target, add);
    if (next === undefined) return points;
    target = next;
  }
  return points;
}

/** Walks down to the first link or missing part; gives where the link leads, or `undefined` at the end of the way. */
async function firstLink(
  target: string,
  add: (folder: string, name: string) => void,
): Promise<string | undefined> {
  const { root } = parse(target);
  const parts = relative(root, target).split(sep);
  let folder = root;
  for (const [index, part] of parts.entries()) {
    const path = join(folder, part);
    const kind = await kindOf(path);
    const last = index === parts.length - 1;
    if (kind === 'missing' || kind === 'link' || last) add(folder, part);
    if (kind === 'missing') return undefined;
    if (kind === 'link') {
      const link = await readlink(path).catch(() => undefined);
      if (link === undefined) return undefined;
      const base = isAbsolute(link) ? link : resolve(dirname(path), link);
      return join(base, ...parts.slice(index + 1));
    }
    folder = path;
  }
  return undefined;
}

async function kindOf(path: string): Promise<'link' | 'missing' | 'other'> {
  try {
    return (await lstat(path)).isSymbolicLink() ? 'link' : 'other';
  } catch {
    return 'missing';
  }
}
