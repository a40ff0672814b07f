import { chromiumPath, startPostgres, type PostgresServer } from '@xiaoke/test-servers';
import { chromium, type Browser, type Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startService, type Service } from '../src/service.ts';
import { AT_ONCE, Client } from './support/client.ts';

const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

let postgres: PostgresServer;
let service: Service;
let client: Client;
let browser: Browser;
let page: Page;
const complaints: string[] = [];

beforeAll(async () => {
  postgres = await startPostgres();
  service = await startService({
    port: 0,
    env: { ...AT_ONCE, DATABASE_URL: postgres.url, ADMIN_TOKEN: 'sesame' },
  });
  client = new Client(service.url);
  browser = await chromium.launch({ executablePath: chromiumPath(), args: FLAGS });
  page = await browser.newPage();
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('console', (line) => line.type() === 'error' && complaints.push(line.text()));
  await page.goto(service.url);
});
afterAll(async () => {
  await browser?.close();
  await service?.close();
  await postgres?.stop();
});

test('the page shows how the service is, live, and the browser complains of nothing', async () => {
  await page.locator('#overall', { hasText: 'healthy' }).waitFor();
  await page.locator('#checks td', { hasText: 'event_loop' }).waitFor();
  await page.locator('#queues td', { hasText: 'high_priority' }).waitFor();
  await page.locator('#charts figure').first().waitFor();

  await client.submit({ userId: 'user-0001', type: 'checkup' });
  await page.locator('#requests tr', { hasText: 'user-0001' }).locator('.completed').waitFor();
  expect(complaints).toEqual([]);
});

test('the charts draw what the embedded store remembers', async () => {
  // The store takes its first sample within ten seconds, the page asks every ten.
  await page.locator('#charts figure', { hasText: 'Resident memory' }).locator('path').waitFor({
    state: 'attached',
    timeout: 28_000,
  });
});

test('an operator pauses a queue with the token, and is told when it is wrong', async () => {
  const row = page.locator('#queues tr', { hasText: 'low_priority' });
  await page.fill('#token', 'guess');
  await row.getByRole('button', { name: 'pause' }).click();
  await page.locator('#message', { hasText: 'token' }).waitFor();
  expect((await client.json<{ paused: boolean }>('/queues/low_priority')).paused).toBe(false);

  await page.fill('#token', 'sesame');
  await row.getByRole('button', { name: 'pause' }).click();
  await row.getByRole('button', { name: 'resume' }).waitFor();
  expect((await client.json<{ paused: boolean }>('/queues/low_priority')).paused).toBe(true);
  await row.getByRole('button', { name: 'resume' }).click();
  await row.getByRole('button', { name: 'pause' }).waitFor();
});

test('what looks like markup is shown as text, and nothing of it runs', async () => {
  const evil = '<img src=x onerror="window.harmed=true">';
  await service.platform.queue.enqueueTask(evil as 'process_medical_request', { requestId: 'none' });
  const cell = page.locator('#dead-letters').getByRole('cell', { name: evil, exact: true });
  await cell.waitFor();
  expect(await page.locator('#dead-letters img').count()).toBe(0);
  expect(await page.evaluate('window.harmed')).toBeUndefined();

  page.on('dialog', (dialog) => void dialog.accept());
  await page.locator('#dead-letters').getByRole('button', { name: 'purge' }).click();
  await cell.waitFor({ state: 'detached' });
});

test('the page allows no script, style or connection from elsewhere', async () => {
  const { headers } = await client.call('/');
  expect(headers.get('content-security-policy')).toContain("default-src 'none'; script-src 'self'");
  expect(headers.get('content-security-policy')).toContain("frame-ancestors 'none'");
  expect(headers.get('x-content-type-options')).toBe('nosniff');
  expect((await client.call('/operator/../package.json')).status).toBe(404);
});
