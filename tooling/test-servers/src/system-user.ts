import { readFileSync } from 'node:fs';

/** The ids of a user of this machine. */
export interface SystemUser {
  readonly uid: number;
  readonly gid: number;
}

/**
 * The user to start a server as that refuses to run as root; `undefined` when the tests do not run as root
 * and the server simply runs as they do.
 */
export function unprivilegedUser(name: string): SystemUser | undefined {
  if (process.getuid?.() !== 0) return undefined;
  for (const line of readFileSync('/etc/passwd', 'utf8').split('\n')) {
    const [user, , uid, gid] = line.split(':');
    if (user === name) return { uid: Number(uid), gid: Number(gid) };
  }
  throw new Error(`Running as root needs the system user ${name}, which does not exist`);
}
