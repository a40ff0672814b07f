/** Processes that are told and answer, one message at a time. */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';

/** A process that was started for a bench. */
export interface BenchProcess {
  /** Sends an order and resolves to the answer. */
  ask(order: object): Promise<Readonly<Record<string, unknown>>>;
  stop(): Promise<void>;
}

/** Starts a compiled file of this folder; resolves when it says that it is ready. */
export async function startProcess(file: string, args: readonly string[] = []): Promise<BenchProcess> {
  const child = fork(new URL(file, import.meta.url), [...args]);
  await answer(child);
  return {
    ask: (order) => {
      child.send(order);
      return answer(child);
    },
    stop: async () => {
      const exited = once(child, 'exit');
      child.send({ kind: 'stop' });
      await exited;
    },
  };
}

async function answer(child: ChildProcess): Promise<Readonly<Record<string, unknown>>> {
  const [message] = (await once(child, 'message')) as [Readonly<Record<string, unknown>>];
  return message;
}
