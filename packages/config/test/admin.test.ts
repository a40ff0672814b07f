import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { afterEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { createAdminHandler, type ConfigManager } from '@xiaoke/config';
import { useManagers } from './support.ts';

const { make } = useManagers();
const servers: Server[] = [];

afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

async function serve(
  config: ConfigManager,
): Promise<(path: string, body?: unknown, headers?: Record<string, string>) => Promise<Response>> {
  const handler = createAdminHandler(config, {
    authorize: (request, action) =>
      request.headers.authorization === 'Bearer writer' ||
      (action !== 'set' && request.headers.authorization === 'Bearer reader'),
  });
  const server = createServer((request, response) => handler(request, response));
  servers.push(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  return (path, body, headers = {}) =>
    fetch(`http://127.0.0.1:${port}${path}`, {
      method: body === undefined ? 'GET' : 'POST',
      headers: { authorization: 'Bearer writer', 'content-type': 'application/json', ...headers },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
}

describe('the admin handler', () => {
  it('is not made without somebody who authorises', async () => {
    const config = await make();
    // @ts-expect-error: it is required
    expect(() => createAdminHandler(config, {})).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }));
  });

  it('shows the configuration masked, explains, and tells versions apart', async () => {
    const config = await make({ defaults: { db: { password: 'hunter2', host: 'a' } } });
    const ask = await serve(config);
    expect(await (await ask('/config')).json()).toEqual({
      version: 0,
      state: 'ready',
      config: { db: { password: '***', host: 'a' } },
    });
    await ask('/config/set', { path: 'db.host', value: 'b', author: 'ada', reason: 'move' });
    await ask('/config/set', { values: { 'db.host': 'c', 'db.port': 1 } });
    expect(await (await ask('/config/explain?path=db.host')).json()).toMatchObject({
      value: 'c',
      winner: { layer: 'runtime' },
    });
    expect(await (await ask('/config/diff?from=1&to=2')).json()).toMatchObject({
      changes: [
        { path: 'db.host', value: 'c', previous: 'b' },
        { path: 'db.port', kind: 'added' },
      ],
    });
    expect(await (await ask('/config/history')).json()).toMatchObject({
      history: [{ version: 2 }, { author: 'ada', reason: 'move' }],
    });
    expect(await (await ask('/config/rollback', { version: 1 })).json()).toEqual({ version: 3 });
    expect(await (await ask('/config/unset', { path: 'db.host' })).json()).toEqual({ version: 4 });
    expect((await ask('/config/reload', {})).status).toBe(200);
    expect(config.get('db.host')).toBe('a');
  });

  it('refuses who may not, what is no JSON, what is wrong, and what somebody else changed first', async () => {
    const config = await make({ schema: z.object({ a: z.number() }), defaults: { a: 1 } });
    const ask = await serve(config as unknown as ConfigManager);
    const status = async (answer: Promise<Response>): Promise<number> => (await answer).status;
    expect(await status(ask('/config', undefined, { authorization: '' }))).toBe(403);
    expect(
      await status(ask('/config/set', { path: 'a', value: 2 }, { authorization: 'Bearer reader' })),
    ).toBe(403);
    expect(
      await status(ask('/config/set', 'path=a', { 'content-type': 'application/x-www-form-urlencoded' })),
    ).toBe(415);
    expect(await status(ask('/config/set', '[1]'))).toBe(400);
    expect(await status(ask('/config/set', '{'))).toBe(400);
    expect(await status(ask('/config/set', 'x'.repeat(1_100_000)))).toBe(400);
    expect(await status(ask('/config/set'))).toBe(405);
    expect(await status(ask('/elsewhere'))).toBe(404);
    expect(await status(ask('/config/constructor'))).toBe(404);
    expect(await status(ask('/config/set', { path: '__proto__.x', value: 2 }))).toBe(400);
    expect(await status(ask('/config/rollback', { version: 77 }))).toBe(404);
    const refused = await ask('/config/set', { path: 'a', value: 'two' });
    expect([refused.status, await refused.json()]).toMatchObject([
      422,
      { error: { issues: [{ path: 'a' }] } },
    ]);
    expect(config.version).toBe(0);
    expect((await ask('/config')).headers.get('etag')).toBe('"0"');
    expect(await status(ask('/config/set', { path: 'a', value: 2 }, { 'if-match': '"0"' }))).toBe(200);
    expect(await status(ask('/config/set', { path: 'a', value: 3 }, { 'if-match': '"0"' }))).toBe(412);
    expect(config.get('a')).toBe(2);
  });

  it('leaves other paths to whoever comes next', async () => {
    const handler = createAdminHandler(await make(), { authorize: () => true });
    let passed = 0;
    const server = createServer((request, response) =>
      handler(request, response, () => {
        passed += 1;
        response.end();
      }),
    );
    servers.push(server);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    await fetch(`http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}/configuration`);
    expect(passed).toBe(1);
  });
});
