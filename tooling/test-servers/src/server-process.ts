import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';

import { eventually } from './eventually.ts';
import { processGuard } from './process-guard.ts';
import { descendantsOf, isRunning, signalTree } from './process-tree.ts';

/** How one server is run; the same for its first start and for every restart. */
export interface ServerPlan {
  readonly name: string;
  readonly port: number;
  /** The server's own temporary directory; removed by {@link ServerProcess.stop}. */
  readonly directory: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  /** The user to run as; `undefined` keeps the user of the tests. */
  readonly user?: { readonly uid: number; readonly gid: number } | undefined;
  /**
   * Whether the server answers and is the process started, not a stranger on the same port.
   * `log` gives what it has written since this start.
   */
  isReady(server: { readonly pid: number; readonly log: () => string }): boolean | Promise<boolean>;
  /** @default 30_000 */
  readonly startTimeoutMs?: number;
}

/** A running server, private to this test process, with the faults that every server shares. */
export class ServerProcess implements AsyncDisposable {
  readonly name: string;
  readonly host = '127.0.0.1' as const;
  readonly port: number;
  /** The temporary directory that holds its data and log. */
  readonly directory: string;
  readonly #plan: ServerPlan;
  #child: ChildProcess | undefined;

  /** Prefer {@link startServer}, which also picks the port. */
  constructor(plan: ServerPlan) {
    this.#plan = plan;
    this.name = plan.name;
    this.port = plan.port;
    this.directory = plan.directory;
  }

  /** The process id; another one after each restart. Throws while the server is down. */
  get pid(): number {
    const pid = this.#child?.pid;
    if (pid === undefined) throw new Error(`${this.name} is not running`);
    return pid;
  }

  /** Whether the process lives; a paused one does. */
  get running(): boolean {
    return this.#child !== undefined;
  }

  /** SIGSTOP: connections stay open and get no answer, as with a machine that hangs. */
  pause(): void {
    signalTree(this.pid, 'SIGSTOP');
  }

  /** SIGCONT: the end of {@link pause}. */
  resume(): void {
    signalTree(this.pid, 'SIGCONT');
  }

  /** Ends the process as `kill -9` does, or with a gentler signal, and waits until it is gone. */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    child.ref();
    const gone = once(child, 'exit');
    const helpers = descendantsOf(this.pid);
    signalTree(this.pid, signal);
    if (signal !== 'SIGKILL') signalTree(this.pid, 'SIGCONT');
    await gone;
    // What was started may be a script that ends before the server does, which still holds its port and files.
    await eventually(() => !helpers.some(isRunning), {
      timeoutMs: 30_000,
      what: `all of ${this.name} to end`,
    });
  }

  /** Starts it on the same port and directory; kills it first (-9) when it still runs. */
  async restart(): Promise<void> {
    await this.kill();
    await this.start();
  }

  /** Ends the server at once and removes its directory. May be called twice. */
  async stop(): Promise<void> {
    await this.kill();
    rmSync(this.directory, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  /** All that the server has written to its output. */
  log(): string {
    try {
      return readFileSync(this.#logFile, 'utf8');
    } catch {
      return '';
    }
  }

  /** Starts a server that is down and waits until it answers. */
  async start(): Promise<void> {
    const logged = this.log().length;
    const child = this.#spawn();
    const { name, startTimeoutMs: timeoutMs = 30_000 } = this.#plan;
    try {
      await eventually(() => this.#child !== child || this.#isReady(logged), { timeoutMs, what: name });
      if (this.#child !== child) throw new Error(`${name} ended before it was ready`);
    } catch (cause) {
      await this.kill();
      const said = this.log().slice(logged);
      throw new Error(
        `${name} did not start on port ${this.port}:\n${complaintsIn(said)}\n${said.slice(-3000)}`,
        { cause },
      );
    }
  }

  async #isReady(logged: number): Promise<boolean> {
    return this.#plan.isReady({ pid: this.pid, log: () => this.log().slice(logged) });
  }

  get #logFile(): string {
    return join(this.directory, 'output.log');
  }

  #spawn(): ChildProcess {
    const { command, args, env, user, directory } = this.#plan;
    const log = openSync(this.#logFile, 'a');
    // Detached: the server leads a group of its own, so that one signal reaches its helpers as well and
    // Ctrl-C in the terminal does not.
    const child = spawn(command, args, {
      cwd: directory,
      env: { ...process.env, ...env },
      stdio: ['ignore', log, log],
      detached: true,
      ...user,
    });
    closeSync(log);
    this.#child = child;
    const { pid } = child;
    if (pid !== undefined) processGuard().watch(pid);
    const ended = (): void => {
      if (pid !== undefined) processGuard().forget(pid);
      if (this.#child === child) this.#child = undefined;
    };
    child.once('exit', ended).once('error', ended);
    child.unref();
    return child;
  }
}

/** The lines that tell why; a server may go on for pages after them. */
function complaintsIn(log: string): string {
  const lines = log.split('\n').filter((line) => /error|fail|in use|refused|denied/i.test(line));
  return lines.slice(0, 5).join('\n').slice(0, 1500);
}
