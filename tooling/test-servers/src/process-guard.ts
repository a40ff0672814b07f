import { spawn } from 'node:child_process';
import { chmodSync, mkdtempSync } from 'node:fs';
import { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** What outlives the test process for the moment it takes to clean up after it. */
export interface ProcessGuard {
  /** The temporary directory of this test process; removed when the process is gone. */
  readonly root: string;
  /** From now on the process group led by `pid` dies with this process. */
  watch(pid: number): void;
  /** The group is gone, and its number may be given to a stranger: never signal it again. */
  forget(pid: number): void;
}

// A shell, because it starts in a millisecond and holds one megabyte. It notices the death of its parent as
// the end of its input, which the kernel also delivers for SIGKILL and a crash, where no exit hook runs.
const SCRIPT = `
trap '' HUP INT TERM
groups=
while read -r sign group; do
  rest=
  for known in $groups; do [ "$known" = "$group" ] || rest="$rest $known"; done
  [ "$sign" = + ] && rest="$rest $group"
  groups=$rest
done
for group in $groups; do kill -s KILL -- "-$group" 2>/dev/null; done
for attempt in 1 2 3 4 5 6 7 8 9 10; do
  rm -rf -- "$1" 2>/dev/null && break
  sleep 0.2
done
`;

let guard: ProcessGuard | undefined;

/** The guard of this test process; started on first use. */
export function processGuard(): ProcessGuard {
  guard ??= startGuard();
  return guard;
}

function startGuard(): ProcessGuard {
  const root = mkdtempSync(join(tmpdir(), 'xiaoke-test-'));
  // Servers that drop root (PostgreSQL) must be able to pass through to their own directory.
  chmodSync(root, 0o711);
  // Detached: Ctrl-C goes to the whole foreground group, and the guard must survive it.
  const child = spawn('/bin/sh', ['-c', SCRIPT, 'xiaoke-test-guard', root], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
    cwd: '/',
  });
  const input = child.stdin;
  input.on('error', () => undefined);
  child.unref();
  if (input instanceof Socket) input.unref();

  return {
    root,
    watch: (pid) => void input.write(`+ ${pid}\n`),
    forget: (pid) => void input.write(`- ${pid}\n`),
  };
}
