import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { migrate } from '../src/database/migrate.ts';
import { seed } from '../src/database/seed-data.ts';
import { RequestStore } from '../src/requests/request-store.ts';
import { Schedule } from '../src/resources/schedule.ts';
import { Users } from '../src/users.ts';
import { DATABASES, type TestDatabase } from './support/databases.ts';

const from = new Date('2030-01-07T00:00:00Z');

describe.each(Object.entries(DATABASES))('on %s', (_name, open) => {
  let opened: TestDatabase;
  let schedule: Schedule;

  beforeAll(async () => {
    opened = await open({ users: 40, days: 1, from });
    schedule = new Schedule(opened.database);
  });
  afterAll(() => opened.stop());

  test('migrations and seed data are applied once', async () => {
    expect(await migrate(opened.database)).toEqual([]);
    await seed(opened.database, { users: 40, days: 1, from });
    const users = new Users(opened.database);
    expect(await users.list(100)).toHaveLength(40);
    expect(await users.find('user-0001')).toEqual({
      id: 'user-0001',
      name: 'Wei Wang',
      role: 'patient',
      birthYear: 1935,
    });
    expect(await users.find('nobody')).toBeUndefined();
    const resources = await schedule.resources();
    expect([resources.length, resources.every(({ freeSlots }) => freeSlots === 16)]).toEqual([37, true]);
  });

  test('a visit counts as an active session of the role', async () => {
    const users = new Users(opened.database);
    const active = async (): Promise<number> =>
      (await users.activeSessions()).reduce((sum, { count }) => sum + count, 0);
    expect(await active()).toBe(0);
    await users.touch('user-0001');
    await users.touch('user-0001');
    await users.touch('user-0002');
    expect(await active()).toBe(2);
  });

  test('the earliest free slot that fits is booked, and again the same for the same holder', async () => {
    const wish = {
      holder: 'request-1',
      userId: 'user-0001',
      resourceType: 'device',
      specialty: 'mri',
    } as const;
    const slot = await schedule.book(wish);
    expect(slot).toEqual({
      slotId: 'mri-1@2030-01-07T08:00:00.000Z',
      resourceId: 'mri-1',
      resourceName: 'Mri 1',
      startsAt: '2030-01-07T08:00:00.000Z',
      endsAt: '2030-01-07T08:30:00.000Z',
    });
    expect(await schedule.book(wish)).toEqual(slot);
    const later = {
      ...wish,
      holder: 'request-2',
      from: new Date('2030-01-07T15:00:00Z'),
      to: new Date('2030-01-07T15:30:00Z'),
    };
    expect((await schedule.book(later))?.startsAt).toBe('2030-01-07T15:00:00.000Z');
    expect(await schedule.slots('mri-1', { onlyFree: true, limit: 100 })).toHaveLength(14);
    expect(await schedule.slots('nothing', { onlyFree: false, limit: 100 })).toBeUndefined();
  });

  test('bookers who come at once without any lock never share a slot, and the last ones get none', async () => {
    const bookings = await Promise.all(
      Array.from({ length: 40 }, (_, n) =>
        schedule.book({
          holder: `surgery-${n}`,
          userId: 'user-0003',
          resourceType: 'room',
          specialty: 'surgery',
        }),
      ),
    );
    const taken = bookings.flatMap((slot) => slot?.slotId ?? []);
    // Two rooms with sixteen slots each.
    expect([taken.length, new Set(taken).size]).toEqual([32, 32]);
  });

  test('one idempotency key stores one request, and an ended request stays as it ended', async () => {
    const store = new RequestStore(opened.database);
    const request = {
      id: 'a',
      userId: 'user-0001',
      type: 'checkup',
      requirements: {},
      urgency: 'routine',
    } as const;
    const first = await store.create({ ...request, idempotency: { key: 'k', hash: 'h' } });
    const second = await store.create({ ...request, id: 'b', idempotency: { key: 'k', hash: 'other' } });
    expect([first.duplicate, second.duplicate, second.request.id, second.hash]).toEqual([
      false,
      true,
      'a',
      'h',
    ]);
    expect(await store.listOpen(10)).toEqual([first.request]);

    await store.setState('a', 'waitlisted', { outcome: 'waitlisted', reason: 'full' });
    await store.setState('a', 'failed', { outcome: 'failed', reason: 'late' });
    expect(await store.find('a')).toMatchObject({
      state: 'waitlisted',
      result: { outcome: 'waitlisted', reason: 'full' },
    });
    expect(await store.listOpen(10)).toEqual([]);
    expect(await store.list({ userId: 'user-0001', state: 'waitlisted', limit: 5 })).toHaveLength(1);
    expect(await store.list({ limit: 5 })).toHaveLength(1);
    expect(await store.countByState()).toEqual({ waitlisted: 1 });
    await store.forget('a');
    expect(await store.find('a')).toBeDefined();
  });

  test('a transaction that throws leaves nothing', async () => {
    const attempt = opened.database.transaction(async (transaction) => {
      await schedule.book({ holder: 'undone', userId: 'user-0001', resourceType: 'doctor' }, transaction);
      throw new Error('changed my mind');
    });
    await expect(attempt).rejects.toThrow('changed my mind');
    const rows = await opened.database.query('SELECT 1 FROM bookings WHERE holder = $1', ['undone']);
    expect(rows).toEqual([]);
  });
});
