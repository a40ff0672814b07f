import { existsSync } from 'node:fs';

import { test } from 'vitest';

import { eventually, isRunning, spawnNode } from '../src/index.ts';

const owner = new URL('./fixtures/server-owner.ts', import.meta.url);

test.each(['exit', 'crash', 'SIGTERM', 'SIGINT', 'SIGKILL'] as const)(
  'a test process that ends by %s leaves no server and no directory behind',
  async (end) => {
    await using parent = spawnNode(owner, { args: [end] });
    const { pid, directory } = await parent.message();
    if (end.startsWith('SIG')) await parent.kill(end as NodeJS.Signals);
    await parent.exited;

    await eventually(() => !isRunning(Number(pid)) && !existsSync(String(directory)), {
      what: 'the server and its directory to go',
    });
  },
);

test('a paused server does not survive its test process either', async () => {
  await using parent = spawnNode(owner);
  const { pid } = await parent.message();
  process.kill(Number(pid), 'SIGSTOP');
  await parent.kill('SIGKILL');

  await eventually(() => !isRunning(Number(pid)));
});
