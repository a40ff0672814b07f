import assert from 'node:assert/strict';
import { eventually } from '@xiaoke/core/testing';
import { gate, type ConformanceCase } from '../conformance-case.ts';

/** One leader. */
export const electionCases: readonly ConformanceCase[] = [
  {
    name: 'one candidate leads, the next takes over when it resigns, with a larger token',
    async run({ manager }) {
      const [here, there] = [await manager(), await manager()];
      const [one, two] = [here.election('boss', { owner: 'one' }), there.election('boss', { owner: 'two' })];
      const term = await one.campaign();
      assert.equal(one.leading, true);
      assert.equal((await two.leader())?.owner, 'one');
      const next = two.campaign();
      assert.equal(await one.resign(), true);
      const second = await next;
      second.assertLeading();
      assert.ok(second.fencingToken > term.fencingToken);
      assert.deepEqual([one.leading, two.leading], [false, true]);
      await second.resign();
      assert.equal(await one.leader(), undefined);
    },
  },
  {
    name: 'run leads, is told when it is deposed, and campaigns again until it is stopped',
    async run({ manager }) {
      const [here, there] = [await manager(), await manager()];
      const election = here.election('boss');
      const stop = new AbortController();
      const tokens: number[] = [];
      const running = election.run(
        async ({ signal, fencingToken }) => {
          tokens.push(fencingToken);
          const over = gate();
          signal.addEventListener('abort', over.open);
          stop.signal.addEventListener('abort', over.open);
          await over.opened;
        },
        { signal: stop.signal },
      );
      await eventually(() => tokens.length === 1);
      const seen: (number | undefined)[] = [];
      const watch = new AbortController();
      const watching = (async () => {
        for await (const leader of there.election('boss').observe({ signal: watch.signal }))
          seen.push(leader?.fencingToken);
      })();
      await eventually(() => seen.length === 1);
      await there.forceRelease('election/boss');
      await eventually(() => tokens.length === 2);
      await eventually(() => seen.includes(tokens[1]));
      stop.abort();
      await running;
      watch.abort();
      await watching;
      assert.equal(election.leading, false);
      assert.ok((tokens[1] ?? 0) > (tokens[0] ?? 0));
    },
  },
];
