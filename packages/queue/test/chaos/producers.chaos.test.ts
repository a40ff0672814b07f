import { expect, it } from 'vitest';
import { spawnNode } from '@xiaoke/test-servers';
import { eventually } from '@xiaoke/core/testing';
import { Battlefield } from './battlefield.ts';

const PRODUCER = new URL('../fixtures/producer.ts', import.meta.url);

it('what a producer heard was accepted is done, though it is killed in the middle of its work and Redis after it', async () => {
  await using field = await Battlefield.prepare('producers', { appendonly: 'everysec' });
  const acked = new Map<number, string>();
  for (let round = 0; round < 3; round += 1) {
    await using producer = spawnNode(PRODUCER, {
      args: [field.redis.url, 'producers', String(round * 100_000)],
    });
    await eventually(() => expect(producer.messages.length).toBeGreaterThan(150), { timeout: 20_000 });
    await producer.kill('SIGKILL');
    if (round === 1) {
      // While the disk is slow, everysec keeps back for up to two seconds what it has acknowledged, and a crash loses that.
      await eventually(async () =>
        /aof_buffer_length:0\b/.test(await field.redis.cli('INFO', 'persistence')),
      );
      await field.redis.restart();
    }
    for (const message of producer.messages) acked.set(Number(message['n']), String(message['id']));
  }
  await eventually(
    async () => {
      const states = await Promise.all([...acked.values()].map((id) => field.manager.getTask(id)));
      expect(states.filter((record) => record?.state !== 'completed')).toEqual([]);
    },
    { timeout: 30_000 },
  );
}, 90_000);
