import { afterEach, describe, expect, it } from 'vitest';
import { systemClock } from '@xiaoke/core';
import { eventually } from '@xiaoke/core/testing';
import { createQueueManager, type QueueManager } from '../src/index.ts';
import { Lane } from '../src/worker/lane.ts';
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

  it('a lane whose turn gets no answer, and that stands in line, keeps no slot and nobody behind it', async () => {
    const slots = new Slots(1);
    const never = new Promise<never>(() => {});
    const claim = (id: string): object => ({ id, token: 1, blob: '', attempts: 0, stalls: 0 });
    const reply = (claims: object[]): object => ({ now: 0, lost: [], claims, nextMs: undefined });
    const ended: string[] = [];
    const lane = (queue: string, turns: (turn: number, want: number) => unknown): Lane => {
      let turn = 0;
      return new Lane({
        queue,
        slots,
        session: {
          turn: (_queue: string, { want }: { want: number }) => Promise.resolve(turns((turn += 1), want)),
        },
        quotas: { next: () => [0, 0, 0] },
        clock: systemClock,
        runner: {
          open: ({ id }: { id: string }) => ({ id, claim: claim(id), envelope: { priority: 1 } }),
          start: (task: { id: string }, done: (task: object, outcome: object) => void) =>
            void setImmediate(() => {
              ended.push(task.id);
              done(task, { kind: 'completed' });
            }),
        },
        settled: () => {},
        failed: () => {},
        idle: () => {},
      } as never);
    };
    const dead = lane('dead', (turn) => (turn === 1 ? reply([claim('a')]) : never));
    let left = 3;
    const alive = lane('alive', (_turn, want) => reply(want > 0 && left > 0 ? [claim(`b${left--}`)] : []));
    dead.kick();
    alive.kick();
    await eventually(() => expect(ended).toEqual(['a']));
    await new Promise((resolve) => setTimeout(resolve, 20));
    dead.lend();
    await eventually(() => expect(ended).toEqual(['a', 'b3', 'b2', 'b1']));
  });
});
