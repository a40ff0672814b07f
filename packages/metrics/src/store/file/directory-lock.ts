import { open, readFile, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { MetricsError } from '../../errors.ts';

/** Takes a directory for this process; the lock of a process that is gone is taken over. Returns what gives it back. */
export async function lockDirectory(directory: string): Promise<() => Promise<void>> {
  const path = join(directory, 'lock');
  for (let attempt = 0; attempt < 3; attempt++) {
    try {
      const file = await open(path, 'wx');
      await file.writeFile(String(process.pid));
      await file.close();
      return () => unlink(path).catch(() => {});
    } catch (error) {
      if (!isTaken(error)) throw error;
      const owner = Number(await readFile(path, 'utf8').catch(() => ''));
      if (isAlive(owner)) {
        throw new MetricsError('STORE_LOCKED', `the directory is in use by process ${owner}`, {
          details: { pid: owner },
        });
      }
      await unlink(path).catch(() => {});
    }
  }
  throw new MetricsError('STORE_LOCKED', 'the directory is being taken by others');
}

function isTaken(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'EEXIST';
}

function isAlive(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}
