import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { eventually } from '@xiaoke/core/testing';
import { startPostgres } from '@xiaoke/test-servers';
import { expect, test } from 'vitest';
import { startService } from '../src/service.ts';
import { AT_ONCE, Client } from './support/client.ts';

test('an alert reaches the webhook of the configuration, whose address is shown to nobody', async () => {
  await using postgres = await startPostgres();
  const received: string[] = [];
  const receiver = createServer((request, response) => {
    void text(request).then((body) => received.push(`${request.headers.authorization ?? ''} ${body}`));
    response.end();
  }).listen(0, '127.0.0.1');
  await once(receiver, 'listening');
  const { port } = receiver.address() as AddressInfo;
  const service = await startService({
    port: 0,
    env: {
      ...AT_ONCE,
      DATABASE_URL: postgres.url,
      XIAOKE_ALERTS__WEBHOOK_URL: `http://robot:open-sesame@127.0.0.1:${port}/`,
    },
  });
  try {
    // The watchdog fires always, so that a silence means that alerts do not arrive.
    await eventually(() => expect(received.join('\n')).toContain('XiaokeWatchdog'), { timeout: 28_000 });
    expect(received[0]).toContain(`Basic ${Buffer.from('robot:open-sesame').toString('base64')}`);
    const client = new Client(service.url);
    for (const path of ['/config', '/config/history', '/config/explain?path=alerts.webhook_url', '/alerts'])
      expect([path, await (await client.call(path)).text()]).toEqual([
        path,
        expect.not.stringContaining('open-sesame'),
      ]);
  } finally {
    await service.close();
    receiver.close();
  }
});
