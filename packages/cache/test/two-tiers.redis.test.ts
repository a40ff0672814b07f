import { eventually } from '@xiaoke/core/testing';
import { expect, it } from 'vitest';
import { deferred, fleet } from './support/caches.ts';

it('what one process writes another reads', async () => {
  const [a, b] = await fleet(2);
  await a.set('k', { n: 1 });
  expect(await b.get('k')).toEqual({ n: 1 });
  // The message about the write may still be on its way, and overtake the first read.
  await eventually(async () => (await b.get('k')) !== undefined && b.peek('k') !== undefined);
  expect(b.peek('k')).toEqual({ n: 1 });
  expect(b.stats().redis.state).toBe('up');
});

it('a value that was overwritten or deleted in one process is soon gone from the first tier of another', async () => {
  const [a, b] = await fleet<number>(2);
  await a.setMany([
    ['k', 1],
    ['gone', 1],
  ]);
  await b.getMany(['k', 'gone']);
  await a.set('k', 2);
  expect(await a.delete('gone')).toBe(true);
  await eventually(() => b.peek('k') === undefined && b.peek('gone') === undefined);
  expect(await b.get('k')).toBe(2);
  expect(await b.get('gone')).toBeUndefined();
});

it('tags and namespaces are invalidated for every process', async () => {
  const [a, b] = await fleet<number>(2);
  await a.set('tagged', 1, { tags: ['x', 'y'] });
  await a.namespace('users').set('u', 1);
  await a.set('other', 1);
  expect(await b.getMany(['tagged', 'other'])).toEqual(
    new Map([
      ['tagged', 1],
      ['other', 1],
    ]),
  );
  expect(await b.namespace('users').get('u')).toBe(1);
  await a.invalidateTags('y');
  await a.namespace('users').clear();
  expect(await a.get('tagged')).toBeUndefined();
  expect(await a.namespace('users').get('u')).toBeUndefined();
  await eventually(() => b.peek('tagged') === undefined && b.namespace('users').peek('u') === undefined);
  expect(await b.get('tagged')).toBeUndefined();
  expect(await b.namespace('users').get('u')).toBeUndefined();
  expect(await b.get('other')).toBe(1);
});

it('many callers in several processes see one load', async () => {
  const caches = await fleet<string>(4);
  let loads = 0;
  const loader = async (): Promise<string> => {
    loads += 1;
    await new Promise((resolve) => setTimeout(resolve, 50));
    return 'v';
  };
  const calls = caches.flatMap((cache) => Array.from({ length: 500 }, () => cache.getOrSet('k', loader)));
  expect(new Set(await Promise.all(calls))).toEqual(new Set(['v']));
  expect(loads).toBe(1);
});

it.each(['delete', 'set', 'tag', 'clear', 'deleteMany'] as const)(
  'a load that a %s in another process overtakes is kept nowhere',
  async (how) => {
    const [a, b] = await fleet<string>(2);
    const started = deferred();
    const go = deferred();
    let source = 'old';
    const loading = a.getOrSet(
      'k',
      async () => {
        const seen = source;
        started.resolve();
        await go.promise;
        return seen;
      },
      { tags: ['t'] },
    );
    await started.promise;
    source = 'new';
    if (how === 'delete') await b.delete('k');
    if (how === 'set') await b.set('k', 'new');
    if (how === 'tag') await b.invalidateTags('t');
    if (how === 'clear') await b.clear();
    if (how === 'deleteMany') await b.deleteMany(['k', 'j']);
    go.resolve();
    expect(await loading).toBe('old');
    expect(await b.getOrSet('k', () => source)).toBe('new');
    await eventually(async () => expect(await a.getOrSet('k', () => source)).toBe('new'));
  },
);
