import { request } from 'node:http';
import { startPostgres, type PostgresServer } from '@xiaoke/test-servers';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startService, type Service } from '../src/service.ts';
import { AT_ONCE } from './support/client.ts';

let postgres: PostgresServer;
let service: Service;

beforeAll(async () => {
  postgres = await startPostgres();
  service = await startService({ port: 0, env: { ...AT_ONCE, DATABASE_URL: postgres.url } });
});
afterAll(async () => {
  await service?.close();
  await postgres?.stop();
});

/** The status of a POST that pauses a queue, with headers that fetch() would not let through. */
async function pause(headers: Record<string, string>): Promise<number | undefined> {
  return await new Promise((resolve, reject) => {
    const url = new URL('/queues/default/pause', service.url);
    request(url, { method: 'POST', headers: { host: url.host, ...headers } }, (response) => {
      response.resume();
      resolve(response.statusCode);
    })
      .on('error', reject)
      .end();
  });
}

test('without a token, a program on this machine and the page of the service may change things', async () => {
  expect(await pause({})).toBe(200);
  expect(await pause({ origin: service.url })).toBe(200);
});

test('without a token, a page of another site in a browser on this machine may not', async () => {
  expect(await pause({ origin: 'http://elsewhere.example' })).toBe(403);
  expect(await pause({ origin: 'null' })).toBe(403);
  expect(await pause({ host: 'rebound.example', origin: 'http://rebound.example' })).toBe(403);
});
