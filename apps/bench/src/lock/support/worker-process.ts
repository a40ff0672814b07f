/** Starts and talks to `worker.ts`. */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { ContenderName } from './contenders.ts';
import type { Order } from './worker.ts';

/** A worker in a process of its own. */
export interface Worker {
  /** Sends an order and resolves to the answer. */
  ask(order: Order): Promise<Readonly<Record<string, unknown>>>;
  stop(): Promise<void>;
}

/** Resolves when the worker is connected. */
export async function startWorker(name: ContenderName, url: string): Promise<Worker> {
  const child = fork(new URL('./worker.js', import.meta.url), [name, url]);
  await answer(child);
  return {
    ask: (order) => {
      child.send(order);
      return answer(child);
    },
    stop: async () => {
      const exited = once(child, 'exit');
      child.send({ kind: 'stop' } satisfies Order);
      await exited;
    },
  };
}

async function answer(child: ChildProcess): Promise<Readonly<Record<string, unknown>>> {
  const [message] = (await once(child, 'message')) as [Readonly<Record<string, unknown>>];
  return message;
}
