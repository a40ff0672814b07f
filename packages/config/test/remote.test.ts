import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { eventually } from '@xiaoke/core/testing';
import { json, POLL, status, useServers, type Handler } from './remote-server.ts';
import { failure, useManagers } from './support.ts';

const { make, folder } = useManagers();
const serve = useServers();

describe('a remote source', () => {
  it('is polled, and a new document is applied', async () => {
    const server = await serve(json({ a: 1 }));
    const config = await make({ defaults: { a: 0, b: 0 } });
    await config.setRemoteSource(server.url, POLL);
    expect(config.snapshot()).toEqual({ a: 1, b: 0 });
    server.handle = json({ a: 2 });
    await eventually(() => config.get('a') === 2);
  });

  it('is asked with the tag of the copy we have, and a document that did not change is not read again', async () => {
    const server = await serve((request, response) => {
      if (request.headers['if-none-match'] === '"v1"') return status(304)(request, response);
      json({ a: 1 }, { etag: '"v1"' })(request, response);
    });
    const config = await make();
    await config.setRemoteSource(server.url, POLL);
    await eventually(() => server.requests.length >= 4);
    expect(server.requests.slice(1).every(({ headers }) => headers['if-none-match'] === '"v1"')).toBe(true);
    expect(config.stats()).toMatchObject({ state: 'ready', rejected: 0 });
  });

  it('that gives a document which is not valid is refused once, and tried again when it is another', async () => {
    const server = await serve(json({ port: 1 }, { etag: '"1"' }));
    const config = await make({ schema: z.object({ port: z.number() }) });
    await config.setRemoteSource(server.url, POLL);
    server.handle = (request, response) =>
      request.headers['if-none-match'] === '"2"'
        ? status(304)(request, response)
        : json({ port: 'x' }, { etag: '"2"' })(request, response);
    await eventually(() => config.stats().state === 'degraded');
    const asked = server.requests.length;
    await eventually(() => server.requests.length > asked + 3);
    expect([config.get('port'), config.stats().rejected]).toEqual([1, 1]);
    server.handle = json({ port: 3 }, { etag: '"3"' });
    await eventually(() => config.get('port') === 3 && config.stats().state === 'ready');
  });

  it('keeps what is in force through every bad answer, and recovers', async () => {
    const server = await serve(json({ a: 1 }));
    const config = await make();
    await config.setRemoteSource(server.url, { ...POLL, timeout: 200 });
    const bad: Record<string, Handler> = {
      'an error': status(500),
      'a login page': (_request, response) => {
        response.writeHead(200, { 'content-type': 'text/html' });
        response.end('<!doctype html><p>Sign in');
      },
      nothing: status(204),
      'a list': json([1]),
      'a 304 out of order': status(304),
      'an endless body': (_request, response) => {
        response.writeHead(200, { 'content-type': 'application/json' });
        const more = setInterval(() => response.write('x'.repeat(262_144)), 1);
        response.on('close', () => clearInterval(more));
      },
      'a body that never ends': (_request, response) => {
        response.writeHead(200, { 'content-type': 'application/json' });
        response.write('{"a":');
      },
      'a packed bomb': (_request, response) => {
        response.writeHead(200, { 'content-type': 'application/json', 'content-encoding': 'gzip' });
        response.end(gzipSync(Buffer.alloc(50_000_000, 0x20)));
      },
      'less than it announced': (_request, response) => {
        response.writeHead(200, { 'content-type': 'application/json', 'content-length': '100' });
        response.write('{"a":2}');
        response.socket?.destroy();
      },
      pollution: (_request, response) => response.end('{"__proto__":{"polluted":1}}'),
    };
    for (const [name, handle] of Object.entries(bad)) {
      const from = server.requests.length;
      server.handle = handle;
      await eventually(() => server.requests.length > from, { timeout: 15_000 });
      await eventually(() => config.stats().state !== 'ready', { timeout: 5_000 });
      expect([name, config.get('a')]).toEqual([name, 1]);
      server.handle = json({ a: 1, after: name });
      await eventually(() => config.get('after') === name && config.stats().state === 'ready', {
        timeout: 15_000,
      });
    }
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
  }, 60_000);

  it('backs off with jitter while the server fails, and waits as long as the server asks', async () => {
    const server = await serve(json({ a: 1 }));
    const config = await make({ random: () => 0.5 });
    await config.setRemoteSource(server.url, { pollInterval: 10 });
    server.handle = status(500);
    await eventually(() => config.stats().state === 'stale');
    const from = server.requests.length;
    const start = performance.now();
    await eventually(() => server.requests.length >= from + 2);
    // Half of 1 s, then half of 2 s; without backing off it would be 10 ms each.
    expect(performance.now() - start).toBeGreaterThan(450);
    server.handle = status(429, { 'retry-after': '3600' });
    const before = server.requests.length;
    await eventually(() => server.requests.length > before);
    const after = server.requests.length;
    server.handle = json({ a: 2 });
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(server.requests.length).toBe(after);
  });

  it('sends its headers, fresh each time, to its own origin and to nobody else', async () => {
    const stranger = await serve(json({ a: 'stolen' }));
    const server = await serve(json({ a: 1 }));
    let token = 0;
    const config = await make();
    await config.setRemoteSource(server.url, {
      ...POLL,
      headers: () => ({ 'x-api-key': `key-${(token += 1)}` }),
    });
    await eventually(() => server.requests.length > 2);
    expect(server.requests[1]?.headers['x-api-key']).toBe('key-2');
    server.handle = status(302, { location: stranger.url });
    await eventually(() => config.stats().state === 'stale');
    expect(stranger.requests).toEqual([]);
    server.handle = (request, response) =>
      request.url === '/moved.json'
        ? json({ a: 2 })(request, response)
        : status(307, { location: '/moved.json' })(request, response);
    await eventually(() => config.get('a') === 2, { timeout: 15_000 });
  });

  it('expands no variables unless it is allowed to', async () => {
    const server = await serve(json({ a: '${SECRET_KEY}' }));
    const variables = { SECRET_KEY: 'hunter2' };
    const config = await make({ env: { variables } });
    await config.setRemoteSource(server.url);
    expect(config.get('a')).toBe('${SECRET_KEY}');
  });

  it('refuses addresses it must not ask', async () => {
    const config = await make();
    for (const url of [
      'file:///etc/passwd',
      'ftp://x/',
      'nonsense',
      'http://user:pw@x/',
      'http://169.254.169.254/',
      'http://[fe80::1]/',
      'http://[::ffff:169.254.169.254]/',
    ]) {
      expect(await failure(config.setRemoteSource(url))).toMatchObject({ code: 'INVALID_OPTION' });
    }
  });

  it('that is away at the start is served from the last good copy, and only from a whole one', async () => {
    const cacheFile = join(await folder(), 'cache', 'last-good.json');
    const server = await serve(json({ a: 1 }, { etag: '"1"' }));
    const first = await make({ cacheFile });
    await first.setRemoteSource(server.url);
    await first.close();
    expect((await stat(cacheFile)).mode & 0o777).toBe(0o600);
    await server.stop();
    const second = await make({ cacheFile });
    await second.setRemoteSource(server.url, { ...POLL, timeout: 500 });
    expect([second.get('a'), second.stats().state]).toEqual([1, 'stale']);
    const port = Number(new URL(server.url).port);
    const again = await serve(json({ a: 2 }), port);
    await eventually(() => second.get('a') === 2 && second.stats().state === 'ready', { timeout: 15_000 });
    await again.stop();
    await second.close();
    const text = await readFile(cacheFile, 'utf8');
    await writeFile(cacheFile, text.slice(0, text.length / 2));
    const third = await make({ cacheFile });
    expect(await failure(third.setRemoteSource(server.url, { timeout: 500 }))).toMatchObject({
      code: 'CONFIG_SOURCE',
    });
    await third.setRemoteSource(server.url, { timeout: 500, optional: true });
    expect(third.get('a')).toBeUndefined();
  });
});
