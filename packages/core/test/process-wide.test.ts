import { randomUUID } from 'node:crypto';
import { expect, test } from 'vitest';
import { processWide, processWideSync } from '@xiaoke/core';

class Manager {
  closed = false;
}

test('the same arguments give the same manager, others another', async () => {
  const get = processWide(randomUUID(), async (..._args: unknown[]) => new Manager());
  const client = new Manager();
  expect(await get('a', { x: 1, y: [2, undefined] })).toBe(
    await get('a', { y: [2, undefined], x: 1, z: undefined }),
  );
  expect(await get('a')).not.toBe(await get('b'));
  expect(await get()).toBe(await get(undefined));
  expect(await get(client)).toBe(await get(client));
  expect(await get(client)).not.toBe(await get(new Manager()));
  expect(await get(get)).toBe(await get(get));
  expect(await get(5n, Symbol.for('s'), null)).toBe(await get(5n, Symbol.for('s'), null));
});

test('calls at the same time share one making, and a closed manager is replaced by one', async () => {
  let made = 0;
  const get = processWide(randomUUID(), async () => {
    made += 1;
    return new Manager();
  });
  const [first, second] = await Promise.all([get(), get()]);
  expect(first).toBe(second);
  first.closed = true;
  const [third, fourth] = await Promise.all([get(), get()]);
  expect(third).toBe(fourth);
  expect(third).not.toBe(first);
  expect(made).toBe(2);
});

test('a making that fails is forgotten', async () => {
  let attempts = 0;
  const get = processWide(randomUUID(), async () => {
    attempts += 1;
    if (attempts === 1) throw new Error('no server');
    return new Manager();
  });
  await expect(get()).rejects.toThrow('no server');
  expect(await get()).toBeInstanceOf(Manager);
});

test('the synchronous form does the same', () => {
  const get = processWideSync(randomUUID(), (_name?: string) => new Manager());
  const first = get('a');
  expect(get('a')).toBe(first);
  first.closed = true;
  expect(get('a')).not.toBe(first);
});
