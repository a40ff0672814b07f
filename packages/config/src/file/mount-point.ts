import { readFile, realpath } from 'node:fs/promises';

/**
 * Whether a file is itself mounted, as Docker does with `-v file:file` and Kubernetes with `subPath`. Such a mount holds on
 * to one inode: whatever is renamed into the file's place outside is never seen inside (kubernetes/kubernetes#50345).
 */
export async function isMountPoint(path: string): Promise<boolean> {
  const real = await realpath(path).catch(() => path);
  // Only Linux tells; elsewhere nothing is said about it.
  const table = await readFile('/proc/self/mountinfo', 'utf8').catch(() => '');
  return table.split('\n').some((line) => unescape(line.split(' ')[4] ?? '') === real);
}

/** Spaces, tabs, line breaks and backslashes stand in that table as octal numbers. */
function unescape(text: string): string {
  return text.replaceAll(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}
