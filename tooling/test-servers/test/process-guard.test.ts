import { existsSync } from 'node:fs';

import { expect, test } from 'vitest';

import { eventually, isRunning, spawnNode, type Message } from '../src/index.ts';
import { descendantsOf } from '../src/process-tree.ts';

const owner = new URL('./fixtures/server-owner.ts', import.meta.url);

/** Waits until a server is gone, all its processes and its directory with it. */
async function gone(pids: readonly number[], { directory }: Message): Promise<void> {
  await eventually(() => !pids.some(isRunning) && !existsSync(String(directory)), {
    what: 'the server and its directory to go',
  });
}

test.each(['exit', 'crash', 'SIGTERM', 'SIGINT', 'SIGKILL'] as const)(
  'a test process that ends by %s leaves no server and no directory behind',
  async (end) => {
    await using parent = spawnNode(owner, { args: ['redis', end] });
    const server = await parent.message();
    if (end !== 'exit' && end !== 'crash') await parent.kill(end);
    await parent.exited;

    await gone([Number(server['pid'])], server);
  },
);

test.each(['rabbitmq', 'postgres', 'mariadb'])(
  'a test process that is killed leaves none of the processes of %s behind',
  async (kind) => {
    await using parent = spawnNode(owner, { args: [kind] });
    const server = await parent.message(() => true, 25_000);
    const pids = [Number(server['pid']), ...descendantsOf(Number(server['pid']))];
    await parent.kill('SIGKILL');

    await gone(pids, server);
  },
);

test('a paused server does not survive its test process either', async () => {
  await using parent = spawnNode(owner);
  const server = await parent.message();
  process.kill(Number(server['pid']), 'SIGSTOP');
  await parent.kill('SIGKILL');

  await gone([Number(server['pid'])], server);
});

test('Ctrl-C, which reaches the whole terminal group, does not keep the guard from its work', async () => {
  await using parent = spawnNode(owner);
  const server = await parent.message();
  for (const pid of descendantsOf(parent.pid)) process.kill(pid, 'SIGINT');
  expect(await parent.kill('SIGINT')).toEqual({ code: null, signal: 'SIGINT' });

  await gone([Number(server['pid'])], server);
});
