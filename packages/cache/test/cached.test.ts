import { describe, expect, it } from 'vitest';
import { canonicalKey } from '../src/index.ts';
import { make } from './support/caches.ts';

const nightly = process.env['XIAOKE_CHAOS'] === 'nightly';

describe('a decorated function', () => {
  it('is called once for the same key, as method, under both kinds of decorators, and as function', async () => {
    const cache = make<string>();
    let calls = 0;
    class Users {
      readonly #prefix = 'user';
      @cache.cached('a:{userId}')
      async find({ userId }: { userId: string }): Promise<string> {
        calls += 1;
        return `${this.#prefix} ${userId}`;
      }
    }
    const users = new Users();
    expect(await users.find({ userId: '1' })).toBe('user 1');
    expect(await users.find({ userId: '1' })).toBe('user 1');
    expect(calls).toBe(1);
    expect(cache.peek('a:1')).toBe('user 1');
    // As `experimentalDecorators` compiles it.
    const descriptor = {
      value: async function legacy(userId: string): Promise<string> {
        calls += 1;
        return `legacy ${userId}`;
      },
      writable: true,
      configurable: true,
    };
    const replaced = { ...descriptor };
    const target = {};
    const decorate = cache.cached('b:{user_id}') as unknown as (
      target: object,
      key: string,
      descriptor: PropertyDescriptor,
    ) => PropertyDescriptor | undefined;
    const made = decorate(target, 'legacy', replaced) ?? replaced;
    const legacy = made.value as (id: string) => Promise<string>;
    expect([await legacy('2'), await legacy('2')]).toEqual(['legacy 2', 'legacy 2']);
    const plain = cache.cached('c:{0}:{1.id}')(async (a: number, b: { id: number }) => {
      calls += 1;
      return `plain ${a + b.id}`;
    });
    expect([await plain(1, { id: 2 }), await plain(1, { id: 2 })]).toEqual(['plain 3', 'plain 3']);
    expect(cache.peek('c:1:2')).toBe('plain 3');
    expect(calls).toBe(3);
  });

  it('takes the options of a load, tags among them', async () => {
    const cache = make<number>();
    let calls = 0;
    const count = cache.cached((id: unknown) => `n:${String(id)}`, { tags: ['counts'], ttl: '1h' })(
      async (id: number) => (calls += id > 0 ? 1 : 0),
    );
    expect([await count(1), await count(1), await count(2)]).toEqual([1, 1, 2]);
    await cache.invalidateTags('counts');
    expect(await count(1)).toBe(3);
  });

  it('keeps no failure, and gives callers of the same key one error', async () => {
    const cache = make<number>();
    let calls = 0;
    const fail = cache.cached('f:{0}')(async (id: number): Promise<number> => {
      calls += id;
      throw new Error(`no ${calls}`);
    });
    const [one, two] = await Promise.allSettled([fail(1), fail(1)]);
    expect(one).toEqual(two);
    await expect(fail(1)).rejects.toThrow('no 2');
  });

  it('rejects when its key has no value, instead of sharing an empty one', async () => {
    const cache = make<number>();
    const find = cache.cached('u:{id}')(async ({ id = 'none' }: { id?: string }) => id.length);
    await expect(find({})).rejects.toMatchObject({ code: expect.any(String) });
    expect(cache.stats().memory.entries).toBe(0);
  });
});

describe('without a template the key is made of the name and all arguments', () => {
  it('such that different arguments never meet, whatever their types', async () => {
    const cache = make({ maxEntries: 100_000 });
    const echo = cache.cached({ name: 'echo' })(async (...args: unknown[]) => args);
    const lists: unknown[][] = [
      [],
      [undefined],
      [null],
      ['null'],
      [1],
      ['1'],
      [1n],
      [true],
      ['true'],
      [-0],
      [0],
      [Number.NaN],
      ['NaN'],
      [[1, 2]],
      [[[1], 2]],
      [1, 2],
      ['1,2'],
      [{ a: 1, b: 2 }],
      [{ a: 1 }, { b: 2 }],
      [new Date(0)],
      ['Date(0)'],
      [0, 'Date'],
      [new Map([['a', 1]])],
      [new Set(['a', 1])],
      [Buffer.from('a')],
      ['a'],
      [new URL('http://a/')],
      ['http://a/'],
      ['"'],
      ['\\"'],
      ['x'.repeat(500)],
      [`${'x'.repeat(499)}y`],
    ];
    for (const args of lists) expect(await echo(...args)).toEqual(args);
    for (const args of lists) expect(await echo(...args)).toEqual(args);
    expect(cache.stats().loads.started).toBe(lists.length);
  });

  it(
    `${nightly ? 'a million' : 'fifty thousand'} different arguments, those that collide elsewhere among them, get their own record`,
    { timeout: 300_000 },
    async () => {
      const size = nightly ? 1_000_000 : 50_000;
      const cache = make<string>({ maxEntries: 2_000_000 });
      let wrong = 0;
      const byId = cache.cached({ name: 'find' })(async ({ id }: { id: string }) => id);
      const byParts = cache.cached({ name: 'parts' })(
        async (id: string, page: number | string, flag?: boolean | null) =>
          `${id} ${typeof page} ${page} ${flag}`,
      );
      const ask = async (i: number): Promise<void> => {
        const id = `u${i.toString(36)}`;
        if (i % 2 === 0) {
          if ((await byId({ id })) !== id) wrong += 1;
          return;
        }
        // The same text in other types and other places.
        const page = i % 4 === 1 ? i : String(i);
        const flag = [undefined, null, true, false][i % 3];
        if ((await byParts(id, page, flag)) !== `${id} ${typeof page} ${page} ${flag}`) wrong += 1;
      };
      for (const id of ['u1r', 'u30']) if ((await byId({ id })) !== id) wrong += 1;
      for (let i = 0; i < size; i += 1) await ask(i);
      // Once more, from the cache.
      const { started } = cache.stats().loads;
      for (let i = 0; i < size; i += 7) await ask(i);
      expect(wrong).toBe(0);
      expect(cache.stats().loads.started).toBe(started);
    },
  );

  it('the order of properties does not matter', () => {
    expect(canonicalKey([{ b: 1, a: [new Set([2, 1])] }])).toBe(
      canonicalKey([{ a: [new Set([1, 2])], b: 1 }]),
    );
  });

  it.each<[string, unknown]>([
    ['a function', () => 1],
    ['a symbol', Symbol('s')],
    ['an instance of a class', new (class User {})()],
    [
      'a cycle',
      (() => {
        const cycle: unknown[] = [];
        cycle.push(cycle);
        return cycle;
      })(),
    ],
  ])('%s cannot be part of it', async (_, argument) => {
    const cache = make<number>();
    const echo = cache.cached({ name: 'echo' })(async (__: unknown) => 1);
    await expect(echo(argument)).rejects.toMatchObject({ code: 'INVALID_KEY' });
  });

  it('two functions of one name are refused, and so is one without', () => {
    const cache = make<number>();
    const one = {
      async find(): Promise<number> {
        return 1;
      },
    };
    const two = {
      async find(): Promise<number> {
        return 2;
      },
    };
    const decorate = cache.cached();
    decorate(one.find);
    const refused = expect.objectContaining({ code: 'INVALID_OPTION', details: { option: 'name' } });
    expect(() => decorate(two.find)).toThrow(refused);
    expect(() => cache.cached()(async () => 1)).toThrow(refused);
    expect(() => cache.namespace('other').cached()(two.find)).not.toThrow();
  });
});
