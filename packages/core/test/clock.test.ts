import { expect, test, vi } from 'vitest';
import { systemClock, systemRandom } from '@xiaoke/core';
import { FakeClock } from '@xiaoke/core/testing';

const LONGEST = 2 ** 31 - 1;

test('a wait longer than a timer can count does not fire at once', () => {
  vi.useFakeTimers();
  try {
    let rang = 0;
    systemClock.setTimeout(() => (rang += 1), 3 * LONGEST + 5);
    vi.advanceTimersByTime(3 * LONGEST + 4);
    expect(rang).toBe(0);
    vi.advanceTimersByTime(1);
    expect(rang).toBe(1);
  } finally {
    vi.useRealTimers();
  }
});

test('a long wait can be cancelled between its parts', () => {
  vi.useFakeTimers();
  try {
    let rang = 0;
    const timer = systemClock.setTimeout(() => (rang += 1), 2 * LONGEST);
    vi.advanceTimersByTime(LONGEST + 1);
    timer.cancel();
    vi.advanceTimersByTime(2 * LONGEST);
    expect(rang).toBe(0);
    expect(vi.getTimerCount()).toBe(0);
  } finally {
    vi.useRealTimers();
  }
});

test('an interval ticks until it is cancelled', () => {
  vi.useFakeTimers();
  try {
    let ticks = 0;
    const timer = systemClock.setInterval(() => (ticks += 1), 10).unref();
    vi.advanceTimersByTime(35);
    timer.cancel();
    vi.advanceTimersByTime(100);
    expect(ticks).toBe(3);
  } finally {
    vi.useRealTimers();
  }
});

test('an unreferenced timer can be made to keep the process alive again', () => {
  const before = process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length;
  const timers = [systemClock.setTimeout(() => {}, 60_000), systemClock.setInterval(() => {}, 60_000)];
  for (const timer of timers) timer.unref().ref();
  expect(process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length).toBe(before + 2);
  for (const timer of timers) timer.cancel();
});

test('an unreferenced timer does not count as keeping the process alive', () => {
  const before = process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length;
  const timer = systemClock.setTimeout(() => {}, 60_000).unref();
  expect(process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length).toBe(before);
  timer.cancel();
});

test('monotonic time does not go back and wall time is the machine’s', () => {
  const first = systemClock.monotonic();
  expect(systemClock.monotonic()).toBeGreaterThanOrEqual(first);
  expect(Math.abs(systemClock.now() - Date.now())).toBeLessThan(1_000);
  expect(systemRandom()).toBeLessThan(1);
});

test('the fake clock fires timers in the order of their times, each at its own', async () => {
  const clock = new FakeClock(1_000);
  const rang: [string, number][] = [];
  clock.setTimeout(() => rang.push(['b', clock.monotonic()]), 20);
  clock.setTimeout(() => rang.push(['a', clock.monotonic()]), 10);
  const tick = clock.setInterval(() => rang.push(['tick', clock.monotonic()]), 15);
  await clock.advance(30);
  tick.cancel();
  await clock.advance(100);

  expect(rang).toEqual([
    ['a', 10],
    ['tick', 15],
    ['b', 20],
    ['tick', 30],
  ]);
  expect(clock.timers).toBe(0);
  expect(clock.now()).toBe(1_130);
});

test('a timer set by a timer fires within the same advance', async () => {
  const clock = new FakeClock();
  const rang: number[] = [];
  clock.setTimeout(() => {
    void Promise.resolve().then(() => clock.setTimeout(() => rang.push(clock.monotonic()), 5));
  }, 5);
  await clock.advance(10);
  expect(rang).toEqual([10]);
});

test('a jump moves the wall clock alone', () => {
  const clock = new FakeClock(5_000);
  clock.jump(-4_000);
  expect([clock.now(), clock.monotonic()]).toEqual([1_000, 0]);
});
