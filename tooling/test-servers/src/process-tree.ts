import { readdirSync, readFileSync } from 'node:fs';

/**
 * Sends a signal to a process group and to all descendants of its leader.
 *
 * The group alone is not enough: PostgreSQL's backends each open a session of their own. Processes that
 * are gone already are passed over.
 */
export function signalTree(leader: number, signal: NodeJS.Signals): void {
  const descendants = descendantsOf(leader);
  signalGroup(leader, signal);
  for (const pid of descendants) signalIfThere(pid, signal);
}

/** Sends a signal to the process group led by `leader`, and to nobody else. */
export function signalGroup(leader: number, signal: NodeJS.Signals): void {
  signalIfThere(-leader, signal);
}

function signalIfThere(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}

/** The process ids below `leader`, from the top down; empty where there is no `/proc`. */
export function descendantsOf(leader: number): number[] {
  const parents = parentsByPid();
  const found = [leader];
  for (const parent of found) {
    for (const [pid, itsParent] of parents) if (itsParent === parent) found.push(pid);
  }
  return found.slice(1);
}

/** Whether the process exists and is more than a zombie that waits to be reaped. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  const stat = readStat(pid);
  return stat === undefined || !['Z', 'X'].includes(stat.state);
}

function parentsByPid(): Map<number, number> {
  const parents = new Map<number, number>();
  for (const entry of listProcesses()) {
    const stat = readStat(entry);
    if (stat !== undefined) parents.set(entry, stat.parent);
  }
  return parents;
}

function listProcesses(): number[] {
  try {
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map(Number);
  } catch {
    return [];
  }
}

function readStat(pid: number): { state: string; parent: number } | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The second field is the command in parentheses and may itself contain spaces and parentheses.
    const [state = '', parent = '0'] = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return { state, parent: Number(parent) };
  } catch {
    return undefined;
  }
}
