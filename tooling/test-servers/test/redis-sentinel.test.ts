import { expect, test } from 'vitest';

import { eventually, isRunning, startRedisSentinel } from '../src/index.ts';

test('a failover on command makes the replica the master, with its data', async () => {
  await using group = await startRedisSentinel();
  const before = await group.master();
  expect(before).toBe(group.servers[0]);
  await before.cli('SET', 'answer', '42');
  await before.cli('WAIT', '1', '1000');

  const after = await group.failover();
  expect(after).toBe(group.servers[1]);
  expect(await after.cli('GET', 'answer')).toBe('42');
  await eventually(async () => (await before.cli('ROLE')).startsWith('slave'));
});

test('three sentinels replace a master that was killed', async () => {
  const group = await startRedisSentinel({ sentinels: 3 });
  const pids = [...group.servers, ...group.sentinels].map((server) => server.pid);
  const first = await group.master();

  await first.kill();
  const second = await group.masterOtherThan(first);
  expect(await second.cli('SET', 'answer', '42')).toBe('OK');

  await group.stop();
  expect(pids.filter(isRunning)).toEqual([]);
});
