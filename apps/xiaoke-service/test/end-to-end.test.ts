import { afterAll, beforeAll, expect, test } from 'vitest';
import { eventually } from '@xiaoke/core/testing';
import { startService, type Service } from '../src/service.ts';
import { traffic } from '../src/traffic.ts';

const REQUESTS = 500;

interface RequestView {
  readonly id: string;
  readonly state: string;
  readonly result: { readonly slot?: { readonly slotId: string } } | null;
}

let service: Service;
const call = async (path: string, init?: RequestInit): Promise<Response> =>
  await fetch(new URL(path, service.url), init);
const post = async (path: string, body: unknown, headers: Record<string, string> = {}): Promise<Response> =>
  await call(path, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });
const taskIdOf = async (response: Response): Promise<string> =>
  ((await response.json()) as { taskId: string }).taskId;
const view = async (id: string): Promise<RequestView> =>
  (await (await call(`/medical-requests/${id}`)).json()) as RequestView;

beforeAll(async () => {
  service = await startService({ port: 0, env: {} });
});
afterAll(() => service.close());

test('500 requests over HTTP: every accepted one ends, and no slot is booked twice', async () => {
  const arrivals = traffic(Array.from({ length: 300 }, (_, n) => `user-${String(n + 1).padStart(4, '0')}`));
  const ids: string[] = [];
  const client = async (): Promise<void> => {
    while (ids.length < REQUESTS) {
      const place = ids.push('') - 1;
      const response = await post('/medical-requests', arrivals.next().value);
      expect(response.status).toBe(202);
      ids[place] = await taskIdOf(response);
    }
  };
  await Promise.all(Array.from({ length: 20 }, client));
  expect(new Set(ids).size).toBe(REQUESTS);

  const ended = await eventually(
    async () => {
      const views = await Promise.all(ids.map(view));
      const open = views.filter(({ state }) => state !== 'completed' && state !== 'waitlisted');
      if (open.length > 0) throw new Error(`${open.length} requests are still ${open[0]?.state}`);
      return views;
    },
    { timeout: 60_000, interval: 250 },
  );
  const slots = ended.flatMap(({ result }) => result?.slot?.slotId ?? []);
  expect(slots.length).toBe(ended.filter(({ state }) => state === 'completed').length);
  expect(new Set(slots).size).toBe(slots.length);
  const resources = (await (await call('/resources')).json()) as { items: { freeSlots: number }[] };
  const free = resources.items.reduce((sum, { freeSlots }) => sum + freeSlots, 0);
  expect(free).toBe(37 * 16 * 10 - slots.length);
}, 120_000);

test('a full schedule is an outcome, never an error', async () => {
  const ids = await Promise.all(
    Array.from({ length: 60 }, async () =>
      taskIdOf(
        await post('/medical-requests', {
          userId: 'user-0001',
          type: 'consultation',
          requirements: { specialty: 'astrology' },
        }),
      ),
    ),
  );
  await eventually(
    async () =>
      expect(new Set((await Promise.all(ids.map(view))).map(({ state }) => state))).toEqual(
        new Set(['waitlisted']),
      ),
    {
      timeout: 30_000,
    },
  );
});

test('an Idempotency-Key gives one request, however often it is sent, and refuses another body', async () => {
  const body = { userId: 'user-0002', type: 'checkup' };
  const key = { 'idempotency-key': 'abc' };
  const responses = await Promise.all(Array.from({ length: 5 }, () => post('/medical-requests', body, key)));
  expect(responses.map(({ status }) => status)).toEqual([202, 202, 202, 202, 202]);
  expect(new Set(await Promise.all(responses.map(taskIdOf))).size).toBe(1);
  expect((await post('/medical-requests', { ...body, type: 'imaging' }, key)).status).toBe(422);
});

test.each([
  [{ type: 'checkup' }, 'userId'],
  [{ userId: 'user-0001' }, 'type'],
  [{ userId: 'user-0001', type: 'haircut' }, 'type'],
  [{ userId: 'user-0001', type: 'checkup', requirements: { urgency: 'yesterday' } }, 'requirements.urgency'],
  [{ userId: 'user-0001', type: 'checkup', requirements: { symptoms: 'cough' } }, 'requirements.symptoms'],
  [{ userId: 'user-0001', type: 'checkup', extra: 1 }, 'extra'],
])('a bad body %j is refused with its field named', async (body, field) => {
  const response = await post('/medical-requests', body);
  expect(response.status).toBe(400);
  expect(await response.json()).toMatchObject({ error: { code: 'INVALID_REQUEST', field } });
});

test('what is no JSON is a 400, an unknown user, request or route a 404', async () => {
  const broken = await call('/medical-requests', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{',
  });
  expect(broken.status).toBe(400);
  expect((await post('/medical-requests', { userId: 'nobody', type: 'checkup' })).status).toBe(404);
  expect((await call('/medical-requests/none')).status).toBe(404);
  expect((await call('/resources/none/slots')).status).toBe(404);
  expect((await call('/nothing')).status).toBe(404);
});

test('a slot can be scheduled directly, within a time', async () => {
  const booked = await post('/resources/schedule', { userId: 'user-0003', resourceType: 'room' });
  expect(booked.status).toBe(201);
  const { slot } = (await booked.json()) as { slot: { resourceId: string; slotId: string } };
  const slots = (await (await call(`/resources/${slot.resourceId}/slots?free=true`)).json()) as {
    items: { id: string }[];
  };
  expect(slots.items.map(({ id }) => id)).not.toContain(slot.slotId);
  const never = {
    userId: 'user-0003',
    resourceType: 'room',
    from: '2001-01-01T00:00:00Z',
    to: '2001-01-02T00:00:00Z',
  };
  expect(await (await post('/resources/schedule', never)).json()).toMatchObject({ outcome: 'waitlisted' });
  const backwards = { ...never, from: never.to, to: never.from };
  expect((await post('/resources/schedule', backwards)).status).toBe(400);
});
