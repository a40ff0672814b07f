import { deepStrictEqual as same, strictEqual as equal } from 'node:assert';
import { createHash, randomUUID } from 'node:crypto';
import { eventually } from '@xiaoke/core/testing';
import type { CommitRequest, ConfigStore, StoreHead } from '../store.ts';

/** One promise of the contract. */
export interface StoreCase {
  readonly name: string;
  /** Rejects when the store does not keep it. */
  readonly run: () => Promise<void>;
}

const digestOf = (document: string): string => createHash('sha256').update(document).digest('hex');
const EMPTY = '{"format":1,"values":{}}';
const NOTHING: StoreHead = { version: 0, digest: digestOf(EMPTY), document: EMPTY, trail: [] };

function request(expected: StoreHead, document: string, more: Partial<CommitRequest> = {}): CommitRequest {
  return {
    expected,
    document,
    digest: digestOf(document),
    trail: [],
    meta: { kind: 'set', paths: ['a'], author: 'ada' },
    request: randomUUID(),
    maxVersions: 3,
    ...more,
  };
}

/**
 * The cases a {@link ConfigStore} must pass.
 *
 * @param open - makes a store that is empty; called once for each case
 *
 * @example
 * ```ts
 * import { MemoryConfigStore } from '@xiaoke/config';
 * import { configStoreContract } from '@xiaoke/config/testing';
 * for (const { name, run } of configStoreContract(async () => new MemoryConfigStore())) {
 *   await run();
 *   console.log('kept:', name);
 * }
 * ```
 */
export function configStoreContract(open: () => Promise<ConfigStore>): StoreCase[] {
  const cases: Record<string, (store: ConfigStore) => Promise<void>> = {
    'an empty store has no head, no history and no documents': async (store) => {
      equal(await store.read(), undefined);
      same(await store.history(), []);
      equal(await store.document(1), undefined);
    },
    'a commit is read back whole, with what is known about it': async (store) => {
      same(await store.commit(request(NOTHING, 'one', { trail: ['0:x'] })), {
        outcome: 'committed',
        version: 1,
      });
      same(await store.read(), { version: 1, digest: digestOf('one'), document: 'one', trail: ['0:x'] });
      const [entry] = await store.history();
      same([entry?.version, entry?.meta], [1, { kind: 'set', paths: ['a'], author: 'ada' }]);
      equal((entry?.at ?? 0) > 1_000_000_000_000, true);
    },
    'a commit on anything but the head is a conflict and writes nothing': async (store) => {
      await store.commit(request(NOTHING, 'one'));
      same(await store.commit(request(NOTHING, 'two')), { outcome: 'conflict', currentVersion: 1 });
      const other = { ...NOTHING, version: 1, digest: digestOf('another') };
      same(await store.commit(request(other, 'two')), { outcome: 'conflict', currentVersion: 1 });
      equal((await store.read())?.document, 'one');
      equal((await store.history()).length, 1);
    },
    'a commit sent twice happens once and answers the same': async (store) => {
      const once = request(NOTHING, 'one');
      const answers = await Promise.all(Array.from({ length: 100 }, () => store.commit(once)));
      for (const answer of answers) same(answer, { outcome: 'committed', version: 1 });
      equal((await store.history()).length, 1);
    },
    'only the newest versions are kept': async (store) => {
      let head = NOTHING;
      for (let version = 1; version <= 5; version += 1) {
        await store.commit(request(head, `v${version}`));
        head = (await store.read()) ?? NOTHING;
      }
      same(
        (await store.history()).map(({ version }) => version),
        [5, 4, 3],
      );
      same([await store.document(3), await store.document(2)], ['v3', undefined]);
    },
    'of many writers at once exactly one wins each version': async (store) => {
      const write = async (): Promise<void> => {
        for (;;) {
          const head = (await store.read()) ?? NOTHING;
          const { outcome } = await store.commit(request(head, `${head.version}-${randomUUID()}`));
          if (outcome === 'committed') return;
        }
      };
      await Promise.all(Array.from({ length: 20 }, write));
      equal((await store.read())?.version, 20);
    },
    'a lost version can be put back under its number': async (store) => {
      same(await store.commit(request(NOTHING, 'seven', { version: 7 })), {
        outcome: 'committed',
        version: 7,
      });
      equal((await store.read())?.version, 7);
    },
    'a follower is told of commits': async (store) => {
      let hints = 0;
      await store.read();
      await store.follow({ onHint: () => void (hints += 1), onAvailable: () => {}, onUnavailable: () => {} });
      await store.commit(request(NOTHING, 'one'));
      await eventually(() => hints > 0);
    },
    'one canary runs at a time, collects reports and ends once': async (store) => {
      equal(await store.startCanary({ id: 'a', plan: '{}' }), true);
      equal(await store.startCanary({ id: 'b', plan: '{}' }), false);
      await store.reportCanary('a', { instance: 'i1', ok: true });
      await store.reportCanary('a', { instance: 'i1', ok: false, code: 'X' });
      await store.reportCanary('b', { instance: 'i2', ok: true });
      const running = await store.canary();
      same([running?.canary.id, running?.reports], ['a', [{ instance: 'i1', ok: false, code: 'X' }]]);
      equal(await store.endCanary('b'), false);
      equal(await store.endCanary('a'), true);
      equal(await store.endCanary('a'), false);
      equal(await store.canary(), undefined);
    },
  };
  return Object.entries(cases).map(([name, check]) => ({
    name,
    run: async () => {
      const store = await open();
      try {
        await check(store);
      } finally {
        await store.close(1_000);
      }
    },
  }));
}
