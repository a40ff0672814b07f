import Bee from 'bee-queue';
import { Queue as BullQueue, Worker as BullWorker } from 'bullmq';
import { createQueueManager } from '@xiaoke/queue';

/** The payload of all candidates: 120 bytes as JSON. */
export const PAYLOAD = { userId: 'user-123456', type: 'consultation', note: 'x'.repeat(60), n: 42 };

/** A queue under test. Every candidate keeps results, as it does by default, and reuses a slot only after its acknowledgement. */
export interface Contender {
  /** Enqueues in bulk. */
  fill(count: number): Promise<void>;
  /** Enqueues one; resolves when the server has it. */
  add(): Promise<unknown>;
  /** Starts to work; `done` is called when the server has an outcome. */
  work(slots: number, handler: () => Promise<void>, done: () => void): Promise<void>;
  close(): Promise<void>;
}

/** Makes a candidate on a fresh queue. */
export type MakeContender = (
  redis: { readonly url: string; readonly host: string; readonly port: number },
  name: string,
) => Promise<Contender>;

export const xiaoke: MakeContender = async ({ url }, name) => {
  const manager = await createQueueManager({ redis: url, namespace: name, maxBuffered: 1_000_000 });
  let running: () => Promise<void> = async () => {};
  manager.registerTaskHandler('work', () => running());
  return {
    fill: async (count) => {
      const items = Array.from({ length: count }, () => ({ name: 'work', payload: PAYLOAD }));
      await manager.enqueueTasks(items);
    },
    add: () => manager.enqueueTask('work', PAYLOAD),
    work: async (slots, handler, done) => {
      running = handler;
      manager.on('completed', done);
      await manager.startWorkers(slots);
    },
    close: () => manager.close({ timeout: 2_000 }),
  };
};

export const bullmq: MakeContender = async ({ host, port }, name) => {
  const connection = { host, port, maxRetriesPerRequest: null };
  const queue = new BullQueue(name, { connection });
  await queue.waitUntilReady();
  let worker: BullWorker | undefined;
  return {
    fill: async (count) => {
      for (let left = count; left > 0; left -= 1_000)
        await queue.addBulk(
          Array.from({ length: Math.min(left, 1_000) }, () => ({ name: 'work', data: PAYLOAD })),
        );
    },
    add: () => queue.add('work', PAYLOAD),
    work: async (slots, handler, done) => {
      worker = new BullWorker(name, handler, { connection, concurrency: slots });
      worker.on('completed', done);
      await worker.waitUntilReady();
    },
    close: async () => {
      await worker?.close();
      await queue.close();
    },
  };
};

export const beeQueue: MakeContender = async ({ host, port }, name) => {
  const queue = new Bee(name, {
    redis: { host, port },
    getEvents: false,
    sendEvents: false,
    storeJobs: false,
  });
  await queue.ready();
  return {
    fill: async (count) => {
      for (let left = count; left > 0; left -= 1_000)
        await queue.saveAll(Array.from({ length: Math.min(left, 1_000) }, () => queue.createJob(PAYLOAD)));
    },
    add: () => queue.createJob(PAYLOAD).save(),
    work: async (slots, handler, done) => {
      queue.on('succeeded', done);
      queue.process(slots, handler);
    },
    close: async () => {
      await queue.close(1_000);
    },
  };
};

export const contenders: Readonly<Record<string, MakeContender>> = { xiaoke, bullmq, 'bee-queue': beeQueue };
