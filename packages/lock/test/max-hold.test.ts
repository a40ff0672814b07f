import { silentLogger } from '@xiaoke/core';
import { FakeClock } from '@xiaoke/core/testing';
import { expect, test } from 'vitest';
import { Hold } from '../src/hold.ts';
import { createLockManager, type LockConfig, type LockLostError } from '../src/index.ts';
import { LeaseKeeper } from '../src/lease-keeper.ts';
import { MemoryBackend } from '../src/memory/memory-backend.ts';
import { Timeline } from '../src/timeline.ts';

test.each<{ what: string; options: LockConfig; until: number }>([
  { what: 'is renewed up to its limit', options: { ttl: 1_200, maxHold: 2_000 }, until: 2_000 },
  { what: 'has a limit shorter than its lease', options: { ttl: 1_200, maxHold: 500 }, until: 500 },
  { what: 'is not extended', options: { ttl: 1_200, maxHold: 500, autoExtend: false }, until: 500 },
])('a lock that $what is ended by the limit', async ({ options, until }) => {
  const clock = new FakeClock();
  await using locks = await createLockManager({ clock });
  const { signal } = await locks.acquireLock('k', options);
  await clock.advance(until - 50);
  expect(signal.aborted).toBe(false);
  await clock.advance(50);
  expect((signal.reason as LockLostError | undefined)?.reason).toBe('max-hold');
});

test('a lease that runs out long before the limit is not ended by the limit', async () => {
  const clock = new FakeClock();
  await using locks = await createLockManager({ clock });
  const { signal } = await locks.acquireLock('k', { ttl: 1_200, maxHold: 2_000, autoExtend: false });
  await clock.advance(1_200);
  expect((signal.reason as LockLostError | undefined)?.reason).toBe('expired');
});

// The wall clock counts whole milliseconds, so it can see up to one more pass than the monotonic one.
test('a lease that reaches just up to the limit is ended by the limit, also when the wall clock sees it end first', async () => {
  const clock = new FakeClock();
  const nothing = (): void => {};
  const timeline = new Timeline(clock, false);
  const keeper = new LeaseKeeper(
    new MemoryBackend(clock, 'xiaoke'),
    timeline,
    { clock, logger: silentLogger },
    { onRenewed: nothing, onRenewalFailed: nothing },
  );
  const from = { monotonic: clock.monotonic(), wall: clock.now() };
  const hold = new Hold(
    {
      resource: { kind: 'lock', key: 'k' },
      holdId: 'process:1',
      mode: 'exclusive',
      lease: 1_200,
      block: 1,
      priority: 0,
      urgent: false,
      weight: 1,
      limit: 1,
      owner: 'test',
    },
    { kind: 'granted', lease: 1_200, from, token: 1, contended: false },
    { clock, keep: (held) => keeper.onDue(held), onOver: nothing },
  );
  clock.jump(1);
  hold.autoExtend = true;
  hold.until = 1_176;
  keeper.watch(hold);
  await clock.advance(1_176);
  expect(hold.over).toBe('max-hold');
  timeline.clear();
});
