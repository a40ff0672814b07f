import { startPostgres, type PostgresServer } from '@xiaoke/test-servers';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startService, type Service } from '../src/service.ts';
import { AT_ONCE, Client } from './support/client.ts';

let postgres: PostgresServer;
let service: Service;
let client: Client;

beforeAll(async () => {
  postgres = await startPostgres();
  service = await startService({
    port: 0,
    env: {
      ...AT_ONCE,
      DATABASE_URL: postgres.url,
      ADMIN_TOKEN: 'sesame',
      XIAOKE_MESSAGING__WORKERS__COUNT: '2',
    },
  });
  client = new Client(service.url);
});
afterAll(async () => {
  await service?.close();
  await postgres?.stop();
});

test.each([
  [{ type: 'checkup' }, 'userId'],
  [{ userId: 'user-0001' }, 'type'],
  [{ userId: 'user-0001', type: 'haircut' }, 'type'],
  [{ userId: 'user-0001', type: 'checkup', requirements: { urgency: 'yesterday' } }, 'requirements.urgency'],
  [{ userId: 'user-0001', type: 'checkup', requirements: { symptoms: 'cough' } }, 'requirements.symptoms'],
  [{ userId: 'user-0001', type: 'checkup', requirements: { notBefore: 'soon' } }, 'requirements.notBefore'],
  [{ userId: 'user-0001', type: 'checkup', extra: 1 }, 'extra'],
])('a bad body %j is refused with its field named', async (body, field) => {
  const response = await client.post('/medical-requests', body);
  expect(response.status).toBe(400);
  expect(await response.json()).toMatchObject({ error: { code: 'INVALID_REQUEST', field } });
});

test('what is no JSON, or too large, is refused; an unknown user, request or route is a 404', async () => {
  const headers = { 'content-type': 'application/json' };
  expect((await client.call('/medical-requests', { method: 'POST', headers, body: '{' })).status).toBe(400);
  const large = JSON.stringify({ userId: 'x'.repeat(100_000), type: 'checkup' });
  expect((await client.call('/medical-requests', { method: 'POST', headers, body: large })).status).toBe(413);
  expect((await client.post('/medical-requests', { userId: 'nobody', type: 'checkup' })).status).toBe(404);
  expect((await client.post('/resources/schedule', { userId: 'nobody', resourceType: 'room' })).status).toBe(
    404,
  );
  for (const path of ['/medical-requests/none', '/resources/none/slots', '/nothing']) {
    expect((await client.call(path)).status).toBe(404);
  }
});

test('an environment variable overrides a key of the configuration, and pins it', async () => {
  expect(service.platform.config.get('messaging.workers.count')).toBe(2);
  const pinned = await client.post(
    '/config/set',
    { path: 'messaging.workers.count', value: 3 },
    { authorization: 'Bearer sesame' },
  );
  expect(pinned.status).toBe(409);
});

test('routes that change something need the token, and a wrong one is no better than none', async () => {
  const set = { path: 'service.degraded_mode', value: true };
  expect((await client.post('/config/set', set)).status).toBe(401);
  expect((await client.post('/config/set', set, { authorization: 'Bearer guess' })).status).toBe(401);
  expect((await client.post('/config/rollback', { version: 0 })).status).toBe(401);
  for (const path of ['pause', 'resume', 'dead-letters/retry', 'dead-letters/purge']) {
    expect((await client.post(`/queues/default/${path}`, {})).status).toBe(401);
  }
  expect(service.platform.config.get('service.degraded_mode')).toBe(false);
  expect((await client.post('/config/set', set, { authorization: 'Bearer sesame' })).status).toBe(200);
});
