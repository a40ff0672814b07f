import { expect, test } from 'vitest';

import { isRunning, spawnNode } from '../src/index.ts';

const greeter = new URL('./fixtures/greeter.ts', import.meta.url);

test('a TypeScript fixture runs with its arguments, workspace packages and messages both ways', async () => {
  await using child = spawnNode(greeter, { args: ['ada', 'grace'] });

  const ready = await child.message((message) => message['kind'] === 'ready');
  expect(ready['port']).toBeTypeOf('number');
  expect(await child.line(/grace/)).toBe('1 grace');

  child.send({ name: 'xiaoke' });
  expect(await child.message((message) => message['kind'] === 'greeting')).toEqual({
    kind: 'greeting',
    text: 'hello xiaoke',
  });
});

test('a piece of TypeScript runs as if it stood beside the test', async () => {
  await using child = spawnNode(
    {
      code: `
      import { isRunning } from '@xiaoke/test-servers';
      const alive: boolean = isRunning(process.pid);
      process.send?.({ alive, secret: process.env['SECRET'] } satisfies object);
      process.disconnect();
    `,
      from: import.meta.url,
    },
    { env: { SECRET: 'sesame' } },
  );

  expect(await child.message()).toEqual({ alive: true, secret: 'sesame' });
  expect(await child.exited).toEqual({ code: 0, signal: null });
});

test('waiting for a process that ended says how it ended and what it wrote', async () => {
  await using child = spawnNode({ code: `throw new Error('on purpose');`, from: import.meta.url });

  await expect(child.message()).rejects.toThrow(/"code":1[^]*on purpose/);
  await expect(child.line('never written')).rejects.toThrow(/ended/);
});

test('a fixture is paused, resumed and killed', async () => {
  await using child = spawnNode(greeter);
  await child.message();
  child.pause();
  child.send({ name: 'later' });
  await expect(child.message((message) => message['kind'] === 'greeting', 100)).rejects.toThrow(
    /did not come/,
  );

  child.resume();
  await child.message((message) => message['kind'] === 'greeting');

  child.pause();
  expect(await child.kill('SIGTERM')).toEqual({ code: null, signal: 'SIGTERM' });
  expect(isRunning(child.pid)).toBe(false);
  expect(await child.kill()).toEqual({ code: null, signal: 'SIGTERM' });
});
