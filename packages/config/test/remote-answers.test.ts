import { describe, expect, it } from 'vitest';
import { sleep } from '@xiaoke/core';
import { eventually } from '@xiaoke/core/testing';
import { json, POLL, status, useServers, type Handler } from './remote-server.ts';
import { useManagers } from './support.ts';

const { make } = useManagers();
const serve = useServers();

describe('of the answers of a remote source', () => {
  it('a tag is only a hint: it is sent back as it came, and what counts is whether the document is another', async () => {
    const server = await serve(json({ a: 1 }, { etag: 'W/"weak"' }));
    const config = await make();
    const changes: unknown[] = [];
    config.addChangeCallback(({ snapshot }) => changes.push(snapshot['a']));
    await config.setRemoteSource(server.url, POLL);
    await eventually(() => server.requests.length > 1);
    expect(server.requests[1]?.headers['if-none-match']).toBe('W/"weak"');
    // The tag changes with every answer, the document does not.
    let tag = 0;
    server.handle = (request, response) => json({ a: 1 }, { etag: `"${(tag += 1)}"` })(request, response);
    await eventually(() => tag > 3);
    expect(changes).toEqual([1]);
    // The tag stays, the document is another.
    server.handle = json({ a: 2 }, { etag: '"same"' });
    await eventually(() => config.get('a') === 2);
    server.handle = json({ a: 3 }, { etag: '"same"' });
    await eventually(() => config.get('a') === 3);
    expect(changes).toEqual([1, 2, 3]);
  });

  it('the time of the last change is asked for where there is no tag', async () => {
    const since = 'Sat, 28 Nov 2026 00:00:00 GMT';
    const server = await serve(json({ a: 1 }, { 'last-modified': since }));
    const config = await make();
    await config.setRemoteSource(server.url, POLL);
    await eventually(() => server.requests.length > 1);
    expect(server.requests[1]?.headers['if-modified-since']).toBe(since);
    server.handle = status(304);
    const before = server.requests.length;
    await eventually(() => server.requests.length > before + 2);
    expect(config.stats()).toMatchObject({ state: 'ready', rejected: 0 });
  });

  it('redirects in circles, to files and to nowhere are failures, and 401 goes on being asked with fresh headers', async () => {
    const server = await serve(json({ a: 1 }));
    const config = await make({ random: () => 0 });
    let token = 0;
    await config.setRemoteSource(server.url, {
      ...POLL,
      headers: () => ({ authorization: `t${(token += 1)}` }),
    });
    const bad: Record<string, Handler> = {
      TOO_MANY_REDIRECTS: status(302, { location: '/app.json' }),
      REDIRECT_REFUSED: status(302, { location: 'file:///etc/passwd' }),
      BAD_REDIRECT: status(302),
      HTTP_401: status(401),
      HTTP_404: status(404),
    };
    for (const [code, handle] of Object.entries(bad)) {
      server.handle = handle;
      await eventually(() => problemOf(config).endsWith(code), { timeout: 15_000 });
      expect(config.get('a')).toBe(1);
      server.handle = json({ a: 1, after: code });
      await eventually(() => config.get('after') === code && config.stats().state === 'ready', {
        timeout: 15_000,
      });
    }
    const asked = server.requests.map(({ headers }) => headers.authorization);
    expect(new Set(asked).size).toBe(token);
  }, 60_000);

  it('Retry-After may be a date, and one that is over or senseless is none', async () => {
    const server = await serve(json({ a: 1 }));
    const config = await make({ random: () => 0 });
    await config.setRemoteSource(server.url, POLL);
    for (const wait of [new Date(Date.now() - 60_000).toUTCString(), 'soon', '-5']) {
      server.handle = status(503, { 'retry-after': wait });
      await eventually(() => problemOf(config).endsWith('HTTP_503'));
      server.handle = json({ a: 1, wait });
      await eventually(() => config.get('wait') === wait, { timeout: 5_000 });
    }
    server.handle = status(503, { 'retry-after': new Date(Date.now() + 3_600_000).toUTCString() });
    await eventually(() => problemOf(config).endsWith('HTTP_503'));
    const asked = server.requests.length;
    await sleep(1_200);
    expect(server.requests.length).toBe(asked);
  });

  it('one that drips, or is in another alphabet, leaves what is in force', async () => {
    const server = await serve(json({ a: 1 }));
    const config = await make({ random: () => 0 });
    await config.setRemoteSource(server.url, { ...POLL, timeout: 150 });
    server.handle = (_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json' });
      const drip = setInterval(() => response.write(' '), 20);
      response.on('close', () => clearInterval(drip));
    };
    await eventually(() => problemOf(config).endsWith('TIMEOUT'));
    server.handle = (_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json; charset=latin1' });
      response.end(Buffer.from('{"a":"\u00e9"}', 'latin1'));
    };
    await eventually(() => problemOf(config).includes('not valid UTF-8'));
    expect(config.get('a')).toBe(1);
  });

  it('the content type tells the format where the address does not', async () => {
    const server = await serve((_request, response) => {
      response.writeHead(200, { 'content-type': 'application/yaml' });
      response.end('a: [1, 2]\n');
    });
    const config = await make();
    await config.setRemoteSource(server.url.replace('/app.json', '/config'));
    expect(config.get('a')).toEqual([1, 2]);
    server.handle = (_request, response) => {
      response.writeHead(200, { 'content-type': 'application/toml' });
      response.end('a = 3\n');
    };
    await config.reload();
    expect(config.get('a')).toBe(3);
  });

  it('only the variables that are named may be read', async () => {
    const server = await serve(json({ a: '${REGION:-nowhere}', b: '${DB_PASSWORD:-}' }));
    const config = await make({ env: { variables: { REGION: 'eu', DB_PASSWORD: 'hunter2' } } });
    await config.setRemoteSource(server.url, { interpolate: ['REGION'] });
    expect(config.snapshot()).toEqual({ a: 'eu', b: '' });
  });

  it('a storm of failures does not make twenty clients ask in step, nor often', async () => {
    const server = await serve(json({ a: 1 }));
    const clients = await Promise.all(Array.from({ length: 20 }, () => make()));
    await Promise.all(clients.map((config) => config.setRemoteSource(server.url, POLL)));
    const times: number[] = [];
    server.handle = (request, response) => {
      times.push(performance.now());
      status(500)(request, response);
    };
    await eventually(() => clients.every((config) => config.stats().state === 'stale'));
    times.length = 0;
    const start = performance.now();
    await sleep(3_000);
    // Each asks after 0.5 to 1 s, and then after 1 to 2 s; polling on would make some three thousand requests.
    expect(times.length).toBeGreaterThan(15);
    expect(times.length).toBeLessThan(80);
    const tenths = new Set(times.map((at) => Math.floor((at - start) / 100)));
    expect(tenths.size).toBeGreaterThan(6);
  });
});

function problemOf(config: {
  stats(): { sources: readonly { kind: string; problem?: { message: string } }[] };
}): string {
  return config.stats().sources.find(({ kind }) => kind === 'remote')?.problem?.message ?? '';
}
