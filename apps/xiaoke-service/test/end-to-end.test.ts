import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startService, type Service } from '../src/service.ts';
import { AT_ONCE, Client } from './support/client.ts';
import { GROUNDS, type Ground } from './support/environments.ts';

const SLOTS = 37 * 16 * 10;

describe.each(Object.entries(GROUNDS))('on %s', (_name, prepare) => {
  let ground: Ground;
  let service: Service;
  let client: Client;

  beforeAll(async () => {
    ground = await prepare();
    service = await startService({ port: 0, env: { ...ground.env, ...AT_ONCE } });
    client = new Client(service.url);
  });
  afterAll(async () => {
    await service.close();
    await ground.stop();
  });

  test('500 requests over HTTP: every accepted one ends, and no slot is booked twice', async () => {
    const ids = await client.submitMany(500);
    expect(new Set(ids).size).toBe(500);
    const ended = await client.ended(ids);
    const slots = ended.flatMap(({ result }) => result?.slot?.slotId ?? []);
    expect(slots.length).toBe(ended.filter(({ state }) => state === 'completed').length);
    expect(new Set(slots).size).toBe(slots.length);
    const { items } = await client.json<{ items: { freeSlots: number }[] }>('/resources');
    expect(items.reduce((sum, { freeSlots }) => sum + freeSlots, 0)).toBe(SLOTS - slots.length);
  }, 120_000);

  test('a full schedule is an outcome, never an error', async () => {
    const body = { userId: 'user-0001', type: 'consultation', requirements: { specialty: 'astrology' } };
    const ids = await Promise.all(Array.from({ length: 60 }, () => client.submit(body)));
    expect(new Set((await client.ended(ids)).map(({ state }) => state))).toEqual(new Set(['waitlisted']));
  }, 60_000);

  test('an Idempotency-Key gives one request, however often it is sent, and refuses another body', async () => {
    const body = { userId: 'user-0002', type: 'checkup' };
    const key = { 'idempotency-key': 'abc' };
    const ids = await Promise.all(Array.from({ length: 5 }, () => client.submit(body, key)));
    expect(new Set(ids).size).toBe(1);
    expect((await client.post('/medical-requests', { ...body, type: 'imaging' }, key)).status).toBe(422);
    const listed = await client.json<{ items: { id: string }[] }>(
      '/medical-requests?userId=user-0002&limit=500',
    );
    expect(listed.items.filter(({ id }) => id === ids[0])).toHaveLength(1);
  });

  test('a slot can be scheduled directly, within a time', async () => {
    const booked = await client.post('/resources/schedule', { userId: 'user-0003', resourceType: 'room' });
    expect(booked.status).toBe(201);
    const { slot } = (await booked.json()) as { slot: { resourceId: string; slotId: string } };
    const free = await client.json<{ items: { id: string }[] }>(
      `/resources/${slot.resourceId}/slots?free=true`,
    );
    expect(free.items.map(({ id }) => id)).not.toContain(slot.slotId);
    const never = {
      userId: 'user-0003',
      resourceType: 'room',
      from: '2001-01-01T00:00:00Z',
      to: '2001-01-02T00:00:00Z',
    };
    expect(await (await client.post('/resources/schedule', never)).json()).toMatchObject({
      outcome: 'waitlisted',
    });
    const backwards = { ...never, from: never.to, to: never.from };
    expect((await client.post('/resources/schedule', backwards)).status).toBe(400);
  });

  test('probes, metrics and the operator’s routes answer', async () => {
    for (const path of ['/livez', '/readyz', '/startupz', '/healthz'])
      expect((await client.call(path)).status).toBe(200);
    const metrics = await (await client.call('/metrics')).text();
    const names = [
      'medical_requests_processed_total',
      'medical_requests_ended_total',
      'resource_scheduling_seconds',
      'resource_slots',
      'user_sessions_active',
      'database_query_duration_seconds',
      'http_request_duration_seconds',
      'xiaoke_queue_tasks_finished_total',
      'xiaoke_lock_acquire_seconds',
      'xiaoke_health_status',
    ];
    expect(names.filter((name) => !metrics.includes(name))).toEqual([]);
    const { queues } = await client.json<{ queues: { queue: string }[] }>('/queues');
    expect(queues.map(({ queue }) => queue).sort()).toEqual(['default', 'high_priority', 'low_priority']);
    expect(await client.json('/autoscale/queues/default')).toMatchObject({ backlog: 0 });
    expect(await client.json('/locks')).toHaveProperty('stats.acquired');
    expect(await client.json('/cache')).toHaveProperty('stats.hitRatio');
    expect(await client.json('/resilience')).toHaveProperty('analysis.findings');
    await service.platform.alerts.evaluate();
    expect(await client.json('/alerts')).toMatchObject({ active: expect.any(Array), stats: { failures: 0 } });
    expect(await client.json('/api/v1/rules')).toMatchObject({ status: 'success' });
    expect((await client.call('/queues/none')).status).toBe(404);
    await service.platform.store.sample();
    const answer = await client.json<{ data: { result: unknown[] } }>(
      '/api/v1/query?query=sum(medical_requests_ended_total)',
    );
    expect(answer).toMatchObject({ status: 'success', data: { resultType: 'vector' } });
    expect((await client.call('/api/v1/nonsense')).status).toBe(404);
  });

  test('the configuration is shown, explained, set and rolled back, with its secrets masked', async () => {
    const shown = await (await client.call('/config')).text();
    expect(shown).toContain('degraded_mode');
    const set = await client.post('/config/set', {
      path: 'service.defer_for',
      value: '2s',
      author: 'test',
      reason: 'faster',
    });
    const { version } = (await set.json()) as { version: number };
    expect(service.platform.config.get('service.defer_for')).toBe('2s');
    expect(await client.json('/config/explain?path=service.defer_for')).toMatchObject({
      found: true,
      value: '2s',
    });
    const history = await client.json<{ versions: { version: number; author?: string }[] }>(
      '/config/history',
    );
    expect(history.versions.some((entry) => entry.version === version && entry.author === 'test')).toBe(true);
    expect((await client.post('/config/rollback', { version: version - 1 })).status).toBe(200);
    expect(service.platform.config.get('service.defer_for')).toBe('5s');
    expect((await client.post('/config/set', { path: 'service.defer_for', value: 'soon' })).status).toBe(400);
    expect(
      (await client.post('/config/set', { path: 'service.defer_for', value: '3s', ifVersion: 0 })).status,
    ).toBe(409);
    expect((await client.post('/config/rollback', { version: 99_999 })).status).toBe(404);
  });

  test('a queue can be paused and resumed, and its dead letters retried', async () => {
    expect((await client.post('/queues/default/pause', {})).status).toBe(200);
    const waiting = await client.submit({ userId: 'user-0004', type: 'laboratory' });
    expect((await client.json<{ paused: boolean }>('/queues/default')).paused).toBe(true);
    expect((await client.view(waiting)).state).toBe('accepted');
    expect((await client.post('/queues/default/resume', {})).status).toBe(200);
    await client.ended([waiting]);
    expect(await client.json('/queues/default/dead-letters')).toMatchObject({ items: [], count: 0 });
    expect(await (await client.post('/queues/default/dead-letters/retry', {})).json()).toEqual({ count: 0 });
    expect(await (await client.post('/queues/default/dead-letters/purge', {})).json()).toEqual({ count: 0 });
  });
});
