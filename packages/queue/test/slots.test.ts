import { afterEach, describe, expect, it } from 'vitest';
import { createQueueManager, type QueueManager } from '../src/index.ts';
import { Slots } from '../src/worker/slots.ts';

const open: QueueManager[] = [];

afterEach(async () => {
  await Promise.all(open.splice(0).map((manager) => manager.close({ timeout: 1_000 })));
});

describe('the slots of a pool', () => {
  it('whoever leaves the line makes way for the next', () => {
    const slots = new Slots(1);
    const kicked: string[] = [];
    const a = { kick: () => void kicked.push('a') };
    const b = { kick: () => void kicked.push('b') };
    expect(slots.take(a, 1)).toBe(1);
    expect([slots.take(a, 1), slots.take(b, 1)]).toEqual([0, 0]);
    slots.release(1);
    expect(kicked).toEqual(['a']);
    slots.leave(a);
    expect(kicked).toEqual(['a', 'b']);
    expect(slots.take(b, 1)).toBe(1);
  });

  it('a queue that has run dry does not keep another one of its pool waiting', async () => {
    const manager = await createQueueManager({ queues: ['a', 'b'] });
    open.push(manager);
    manager.registerTaskHandler('t', async (n: unknown) => n);
    await manager.enqueueTasks([1, 2, 3].map((n) => ({ name: 't', payload: n, options: { queue: 'a' } })));
    await manager.startWorkers(1);
    await manager.whenIdle();
    const task = await manager.enqueueTask('t', 4, { queue: 'b' });
    expect(await task.result({ timeout: '2s' })).toBe(4);
  });
});
