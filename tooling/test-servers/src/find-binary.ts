import { accessSync, constants, readdirSync } from 'node:fs';
import { delimiter, join } from 'node:path';

// Debian keeps these outside the PATH of most users.
const SYSTEM_DIRECTORIES = ['/usr/sbin', '/sbin', '/usr/local/sbin', '/usr/local/bin', '/usr/bin', '/bin'];

/**
 * The full path of an executable, looked for in `first`, then in PATH, then in the system's directories.
 *
 * @throws Error that names the command that installs it.
 */
export function findBinary(name: string, server: string, first: readonly string[] = []): string {
  const directories = [...first, ...(process.env['PATH'] ?? '').split(delimiter), ...SYSTEM_DIRECTORIES];
  const found = directories
    .filter((directory) => directory !== '')
    .map((directory) => join(directory, name))
    .find(isExecutable);
  if (found !== undefined) return found;
  throw new Error(
    `${name} is not installed. Run \`node tooling/test-servers/bin/ensure-servers.mjs ${server}\`, which installs it or says how.`,
  );
}

/** The directory of the newest PostgreSQL's programs in Debian's layout, as a list of at most one. */
export function postgresDirectories(): string[] {
  const base = '/usr/lib/postgresql';
  try {
    const versions = readdirSync(base).sort((a, b) => Number(b) - Number(a));
    return versions.map((version) => join(base, version, 'bin'));
  } catch {
    return [];
  }
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
