import { FakeClock } from '@xiaoke/core/testing';
import { describe, expect, test } from 'vitest';
import { classifyDatabaseError, databasePolicy, type DatabaseDialect } from '@xiaoke/resilience';
import { errorOf } from './support.ts';

const withCode = (code: string): Error => Object.assign(new Error(code), { code });
const labelled = (...labels: string[]): Error =>
  Object.assign(new Error('mongo'), { hasErrorLabel: (label: string) => labels.includes(label) });

describe('what an error of a driver means', () => {
  test.each<[DatabaseDialect, unknown, string]>([
    ['postgres', withCode('40001'), 'rolled-back'],
    ['postgres', withCode('40P01'), 'rolled-back'],
    ['postgres', withCode('55P03'), 'rolled-back'],
    ['postgres', withCode('53300'), 'unavailable'],
    ['postgres', withCode('57P03'), 'unavailable'],
    ['postgres', withCode('57P01'), 'unknown-outcome'],
    ['postgres', withCode('08006'), 'unknown-outcome'],
    ['postgres', withCode('23505'), 'permanent'],
    ['mysql', withCode('ER_LOCK_DEADLOCK'), 'rolled-back'],
    ['mysql', withCode('ER_CON_COUNT_ERROR'), 'unavailable'],
    ['mysql', withCode('PROTOCOL_CONNECTION_LOST'), 'unknown-outcome'],
    ['mysql', withCode('ER_DUP_ENTRY'), 'permanent'],
    ['mongodb', labelled('TransientTransactionError'), 'rolled-back'],
    ['mongodb', labelled('RetryableWriteError'), 'unavailable'],
    ['mongodb', Object.assign(new Error('x'), { name: 'MongoNetworkTimeoutError' }), 'unknown-outcome'],
    ['mongodb', new Error('E11000 duplicate key'), 'permanent'],
    ['redis', new Error('LOADING Redis is loading the dataset in memory'), 'unavailable'],
    ['redis', new Error('READONLY You can’t write against a read only replica.'), 'unavailable'],
    ['redis', new Error('Connection is closed.'), 'unknown-outcome'],
    ['redis', new Error('WRONGTYPE Operation against a key'), 'permanent'],
    ['redis', withCode('ECONNREFUSED'), 'unavailable'],
    ['postgres', withCode('ECONNRESET'), 'unknown-outcome'],
    ['postgres', 'no error at all', 'permanent'],
  ])('%s: %o is %s', (dialect, error, kind) => {
    expect(classifyDatabaseError(dialect, error)).toBe(kind);
  });
});

describe('databasePolicy', () => {
  async function attempts(error: unknown, idempotent?: boolean): Promise<number> {
    const clock = new FakeClock();
    let runs = 0;
    const call = errorOf(
      databasePolicy({ dialect: 'postgres', clock }).execute(() => ((runs += 1), Promise.reject(error)), {
        idempotent,
      }),
    );
    await clock.advance(10_000);
    expect(await call).toBe(error);
    return runs;
  }

  test('what was undone is run again, what may have been done only if that does no harm', async () => {
    expect(await attempts(withCode('40001'))).toBe(3);
    expect(await attempts(withCode('57P01'))).toBe(1);
    expect(await attempts(withCode('57P01'), true)).toBe(3);
    expect(await attempts(withCode('40001'), false)).toBe(1);
    expect(await attempts(withCode('23505'), true)).toBe(1);
  });

  test('the circuit counts trouble of the server and timeouts, not deadlocks and bad statements', async () => {
    const clock = new FakeClock();
    const policy = databasePolicy({
      dialect: 'postgres',
      retry: { attempts: 1 },
      circuitBreaker: { minimumCalls: 5 },
      timeout: '1s',
      clock,
    });
    for (const code of ['40P01', '23505', '42601'])
      for (let call = 0; call < 10; call += 1)
        await errorOf(policy.execute(() => Promise.reject(withCode(code))));
    expect(policy.stats().policies[1]).toMatchObject({ state: 'closed', failed: 0 });
    const fresh = databasePolicy({
      dialect: 'postgres',
      retry: { attempts: 1 },
      circuitBreaker: { minimumCalls: 5 },
      timeout: '1s',
      clock,
    });
    for (let call = 0; call < 5; call += 1) {
      const hung = errorOf(fresh.execute(() => new Promise(() => {})));
      await clock.advance(1_000);
      await hung;
    }
    expect(await errorOf(fresh.execute(() => 'x'))).toMatchObject({ code: 'CIRCUIT_OPEN' });
  });

  test('bad options are refused', () => {
    expect(() => databasePolicy({ dialect: 'oracle' as 'mysql' })).toThrow(
      expect.objectContaining({ details: { option: 'dialect' } }),
    );
    expect(databasePolicy({ dialect: 'redis', circuitBreaker: false, timeout: false }).policies).toHaveLength(
      1,
    );
  });
});
