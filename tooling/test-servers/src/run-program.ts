import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const execute = promisify(execFile);

/** How {@link runProgram} runs. */
export interface RunProgramOptions {
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
  readonly uid?: number;
  readonly gid?: number;
  /** Milliseconds before it is killed. @default 30_000 */
  readonly timeoutMs?: number;
}

/** Runs a program to its end and returns what it wrote to standard output; throws when it fails. */
export async function runProgram(
  command: string,
  args: readonly string[],
  options: RunProgramOptions = {},
): Promise<string> {
  const { timeoutMs = 30_000, env, ...rest } = options;
  const { stdout } = await execute(command, args, {
    ...rest,
    env: { ...process.env, ...env },
    timeout: timeoutMs,
    killSignal: 'SIGKILL',
    maxBuffer: 64 * 1024 * 1024,
  });
  return stdout;
}
