import { FakeClock } from '@xiaoke/core/testing';
import OpossumBreaker from 'opossum';
import { describe, expect, test, vi } from 'vitest';
import { circuitBreaker, fromOpossum, type OpossumLike } from '@xiaoke/resilience';
import { errorOf, turn } from './support.ts';

const down = (): Promise<never> => Promise.reject(new Error('down'));
function record(opossum: OpossumLike): readonly string[] {
  const seen: string[] = [];
  for (const event of ['open', 'halfOpen', 'close']) opossum.on(event, () => seen.push(event));
  return seen;
}

describe('opossum holds the state of a circuit', () => {
  test('it is a real opossum breaker and goes through the same states, with its own events', async () => {
    const clock = new FakeClock();
    const breaker = circuitBreaker({
      name: 'shop',
      failureRate: 1,
      minimumCalls: 2,
      openFor: '5s',
      halfOpenCalls: 2,
      clock,
    });
    const { opossum } = breaker;
    expect(opossum).toBeInstanceOf(OpossumBreaker);
    expect(opossum.name).toBe('shop');
    const seen = record(opossum);
    await errorOf(breaker.execute(down));
    await errorOf(breaker.execute(down));
    expect([opossum.opened, opossum.halfOpen, opossum.closed]).toEqual([true, false, false]);
    await clock.advance(5_000);
    await errorOf(breaker.execute(down));
    expect([opossum.opened, opossum.halfOpen, opossum.closed]).toEqual([false, true, false]);
    await errorOf(breaker.execute(down));
    expect(opossum.opened).toBe(true);
    await clock.advance(5_000);
    await breaker.execute(() => 'ok');
    await breaker.execute(() => 'ok');
    expect([opossum.opened, opossum.halfOpen, opossum.closed]).toEqual([false, false, true]);
    expect(seen).toEqual(['open', 'halfOpen', 'open', 'halfOpen', 'close']);
  });

  test('its open() and close() control the circuit', async () => {
    const breaker = circuitBreaker();
    breaker.opossum.open();
    expect(await errorOf(breaker.execute(() => 'x'))).toMatchObject({ code: 'CIRCUIT_OPEN' });
    breaker.opossum.close();
    expect(await breaker.execute(() => 'ok')).toBe('ok');
  });

  test('its fire() runs under the circuit, and its JSON tells the state', async () => {
    const breaker = circuitBreaker({ minimumCalls: 2 });
    const opossum = breaker.opossum as unknown as OpossumBreaker<[(a: number) => unknown, number]>;
    expect(await opossum.fire((a) => a + 1, 41)).toBe(42);
    await errorOf(opossum.fire(down, 0));
    expect(breaker.state).toBe('open');
    expect(JSON.parse(JSON.stringify(opossum))).toMatchObject({
      state: { open: true, closed: false, halfOpen: false },
    });
    expect(await errorOf(opossum.fire(5 as never, 1))).toMatchObject({ code: 'INVALID_OPTION' });
  });

  test('a circuit read while it is half-open shows as half-open', async () => {
    const clock = new FakeClock();
    const breaker = circuitBreaker({ openFor: '1s', clock });
    breaker.open();
    await clock.advance(1_000);
    expect(breaker.state).toBe('half-open');
    expect(breaker.opossum.halfOpen).toBe(true);
  });

  test('tools find its events by eventNames(), as opossum-prometheus does', () => {
    const names = (circuitBreaker().opossum as unknown as OpossumBreaker).eventNames();
    expect(names).toEqual(
      expect.arrayContaining([
        'success',
        'failure',
        'timeout',
        'fire',
        'reject',
        'open',
        'halfOpen',
        'close',
      ]),
    );
  });

  test('a listener on it that throws changes neither the call nor the state', async () => {
    const breaker = circuitBreaker({ minimumCalls: 1 });
    breaker.opossum.on('open', () => {
      throw new Error('listener');
    });
    expect(await errorOf(breaker.execute(down))).toMatchObject({ message: 'down' });
    expect(breaker.state).toBe('open');
  });

  test('it starts no timer, open or not', () => {
    const timers = vi.spyOn(globalThis, 'setTimeout');
    const intervals = vi.spyOn(globalThis, 'setInterval');
    const breaker = circuitBreaker();
    expect(breaker.opossum.closed).toBe(true);
    breaker.open();
    expect([timers.mock.calls.length, intervals.mock.calls.length]).toEqual([0, 0]);
    vi.restoreAllMocks();
  });
});

describe('fromOpossum', () => {
  const make = (action: () => Promise<unknown>): OpossumBreaker =>
    new OpossumBreaker(action, {
      timeout: false,
      resetTimeout: 60,
      volumeThreshold: 2,
      name: 'legacy',
      enableSnapshots: false,
    });

  test('what opens either opens both', async () => {
    const legacy = make(down);
    const policy = fromOpossum(legacy, { minimumCalls: 3 });
    expect(policy.name).toBe('legacy');
    for (let call = 0; call < 3; call += 1) await errorOf(policy.execute(down));
    expect(legacy.opened).toBe(true);
    policy.close();
    expect(legacy.closed).toBe(true);
    for (let call = 0; call < 5; call += 1) await errorOf(legacy.fire());
    expect(legacy.opened).toBe(true);
    expect(await errorOf(policy.execute(() => 'x'))).toMatchObject({ code: 'CIRCUIT_OPEN' });
    legacy.shutdown();
  });

  test('it half-opens after opossum’s resetTimeout, and our probes close opossum', async () => {
    const clock = new FakeClock();
    const legacy = make(down);
    const policy = fromOpossum(legacy, { halfOpenCalls: 2, clock });
    legacy.open();
    expect(await errorOf(policy.execute(() => 'x'))).toMatchObject({ retryAfterMs: 60 });
    await clock.advance(60);
    expect(await policy.execute(() => 'a')).toBe('a');
    expect(legacy.closed).toBe(false);
    expect(await policy.execute(() => 'b')).toBe('b');
    expect(legacy.closed).toBe(true);
    legacy.shutdown();
  });

  test('one that is already open is open', async () => {
    const legacy = make(down);
    legacy.open();
    expect(fromOpossum(legacy).state).toBe('open');
    legacy.shutdown();
    await turn();
  });
});
