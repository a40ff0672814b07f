import type { ChildProcess } from 'node:child_process';

import { eventually } from './eventually.ts';
import { signalGroup } from './process-tree.ts';

/** A message between a test and its child: a JSON object. */
export type Message = Readonly<Record<string, unknown>>;

/** How a process ended; one of the two is set. */
export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/**
 * A Node process that {@link spawnNode} started.
 *
 * Signals reach it and its plain children, as from a supervisor, but no server that it has started itself:
 * what becomes of those when it dies is part of what such a test looks at.
 */
export class NodeProcess implements AsyncDisposable {
  /** Resolves when the process has ended and all its output was read. Never rejects. */
  readonly exited: Promise<Exit>;
  /** All messages so far. */
  readonly messages: readonly Message[];
  readonly #child: ChildProcess;
  #output = '';
  #exit: Exit | undefined;

  /** Use {@link spawnNode}. */
  constructor(child: ChildProcess) {
    this.#child = child;
    const messages: Message[] = [];
    this.messages = messages;
    child.on('message', (message) => messages.push(asMessage(message)));
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => (this.#output += text));
    }
    this.exited = new Promise((resolve) => {
      const ended = (code: number | null, signal: NodeJS.Signals | null): void => {
        this.#exit = { code, signal };
        resolve(this.#exit);
      };
      child.once('close', ended);
      child.once('error', (error) => {
        this.#output += String(error);
        if (child.pid === undefined) ended(null, null);
      });
    });
  }

  get pid(): number {
    const { pid } = this.#child;
    if (pid === undefined) throw new Error(`The process did not start:\n${this.#output}`);
    return pid;
  }

  /** Standard output and standard error so far, as they came. */
  get output(): string {
    return this.#output;
  }

  /** Sends a message to the child's `process.on('message')`. */
  send(message: Message): void {
    this.#child.send(message);
  }

  /**
   * Waits for the first message, past or future, that fits, and returns it.
   * @throws Error with the child's output when it ends first or `timeoutMs` (default 15 s) pass.
   */
  async message(fits: (message: Message) => boolean = () => true, timeoutMs?: number): Promise<Message> {
    const [found] = await this.#wait(() => this.messages.filter(fits).slice(0, 1), 'a message', timeoutMs);
    if (found === undefined) throw new Error('unreachable: waited for one');
    return found;
  }

  /** Waits for a whole line of output, past or future, that contains `text` or matches. */
  async line(text: string | RegExp, timeoutMs?: number): Promise<string> {
    const fits = (line: string): boolean =>
      typeof text === 'string' ? line.includes(text) : line.search(text) !== -1;
    const lines = (): string[] => this.#output.split('\n').slice(0, -1).filter(fits);
    const [found] = await this.#wait(lines, `a line with ${String(text)}`, timeoutMs);
    return found ?? '';
  }

  /** SIGSTOP: the process hangs, its connections stay open. */
  pause(): void {
    signalGroup(this.pid, 'SIGSTOP');
  }

  /** SIGCONT: the end of {@link pause}. */
  resume(): void {
    signalGroup(this.pid, 'SIGCONT');
  }

  /** Sends a signal and waits for the end of the process; a paused one is ended as well. */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<Exit> {
    if (this.#exit === undefined && this.#child.exitCode === null && this.#child.signalCode === null) {
      signalGroup(this.pid, signal);
      if (signal !== 'SIGKILL') signalGroup(this.pid, 'SIGCONT');
    }
    return this.exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }

  async #wait<T>(look: () => T[], what: string, timeoutMs = 15_000): Promise<T[]> {
    const found = await eventually(
      () => {
        const hits = look();
        return hits.length > 0 || this.#exit !== undefined ? { hits } : undefined;
      },
      { timeoutMs, everyMs: 5, what: `${what} from process ${this.#child.pid}` },
    ).catch((cause: unknown) => {
      throw new Error(`${what} did not come. Output so far:\n${this.#output}`, { cause });
    });
    if (found.hits.length > 0) return found.hits;
    throw new Error(
      `The process ended (${JSON.stringify(this.#exit)}) before ${what} came:\n${this.#output}`,
    );
  }
}

function asMessage(message: unknown): Message {
  return typeof message === 'object' && message !== null ? { ...message } : { value: message };
}
