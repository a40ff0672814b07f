import { once } from 'node:events';
import { createServer } from 'node:http';
import { connect } from 'node:net';
import { describe, expect, it } from 'vitest';
import { createAdminHandler } from '@xiaoke/config';
import { eventually, trackLeaks } from '@xiaoke/core/testing';
import { spawnNode } from '@xiaoke/test-servers';
import { failure, useManagers } from './support.ts';

const { make, file } = useManagers();
const never = (): Promise<never> => new Promise(() => {});

describe('nothing waits without a bound:', () => {
  it('a transaction that never ends, or waits for its own manager, is given up and leaves no trace', async () => {
    const config = await make({ transactionTimeout: 50 });
    expect(
      await failure(
        config.transaction((tx) => {
          tx.set('a', 1);
          return never();
        }),
      ),
    ).toMatchObject({ code: 'TIMEOUT' });
    // Neither does waiting for one's own manager inside of it.
    expect(await failure(config.transaction(async () => void (await config.set('a', 2))))).toMatchObject({
      code: 'TIMEOUT',
    });
    await eventually(() => config.get('a') === 2);
    expect(config.version).toBe(1);
  });

  it('a source that never loads is refused, and does not hold up a reload for ever', async () => {
    const config = await make({ sourceTimeout: 50 });
    const signals: AbortSignal[] = [];
    let hang = true;
    const source = {
      name: 'slow',
      load: ({ signal }: { signal: AbortSignal }) => {
        signals.push(signal);
        return hang ? never() : Promise.resolve({ a: 1 });
      },
    };
    expect(await failure(config.addSource(source))).toMatchObject({ code: 'CONFIG_SOURCE' });
    expect(signals[0]?.aborted).toBe(true);
    hang = false;
    await config.addSource(source);
    hang = true;
    expect(await failure(config.reload())).toMatchObject({ code: 'CONFIG_SOURCE' });
    expect(config.get('a')).toBe(1);
    expect(
      await failure(config.addSource({ name: 'w', load: async () => ({}), watch: never })),
    ).toMatchObject({
      code: 'CONFIG_SOURCE',
    });
  });

  it('a source that changes while it is being added is not missed', async () => {
    const config = await make();
    let value = 1;
    await config.addSource({
      name: 'early',
      load: async () => ({ a: value }),
      watch: (onChange) => {
        value = 2;
        onChange();
        return () => {};
      },
    });
    await eventually(() => config.get('a') === 2);
  });

  it('headers that never come are a failed request', async () => {
    const config = await make();
    const start = performance.now();
    const error = await failure(
      config.setRemoteSource('http://127.0.0.1:1/x.json', { headers: never, timeout: 50 }),
    );
    expect(error).toMatchObject({ code: 'CONFIG_SOURCE', details: { reason: 'HEADERS_FAILED' } });
    expect(performance.now() - start).toBeLessThan(5_000);
  });

  it('options that make no sense are refused before anything is opened', async () => {
    for (const options of [
      { canaryCheck: true },
      { requireStore: 'yes' },
      { transactionTimeout: 0 },
      { sourceTimeout: 'soon' },
      { maxVersions: 0 },
      { maxVersions: 1.5 },
      { environment: '../x' },
      { settle: 5 },
      { cacheFile: '' },
      { redis: 42 },
      { redis: 'http://x' },
      { schema: {} },
      { defaults: [] },
      { defaults: { a: JSON.parse('{"__proto__":1}') } },
      { merge: { a: 'mix' } },
      { secrets: 'a' },
      { env: { prefix: 'no good' } },
    ]) {
      expect([options, (await failure(make(options as never)))['code']]).toEqual([options, 'INVALID_OPTION']);
    }
    const config = await make();
    for (const options of [{ interpolate: 'A' }, { pollInterval: 0 }, { format: 'ini' }, { timeout: -1 }]) {
      const refused = config.setRemoteSource('http://127.0.0.1:1/', options as never);
      expect([options, (await failure(refused))['code']]).toEqual([options, 'INVALID_OPTION']);
    }
    for (const path of ['', 'a\0b', 'noextension', 7] as never[]) {
      expect([path, (await failure(config.addFileSource(path)))['code']]).toEqual([path, 'INVALID_OPTION']);
    }
  });
});

describe('closing', () => {
  it('leaves no timer, socket or watcher, is idempotent, and reading goes on', async () => {
    const settled = trackLeaks();
    const server = createServer((_request, response) => response.end('{"r":1}'));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    const config = await make({ defaults: { a: 1 } });
    await config.addFileSource(await file('app.yaml', 'f: 1\n'));
    await config.setRemoteSource(
      `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}/x.json`,
      { pollInterval: 10 },
    );
    await Promise.all([config.close(), config.close()]);
    await config.close();
    expect(config.snapshot()).toEqual({ a: 1, f: 1, r: 1 });
    expect(config.stats().state).toBe('closed');
    for (const work of [
      config.set('a', 2),
      config.reload(),
      config.rollback(0),
      config.addFileSource('x.json'),
    ])
      expect(await failure(work)).toMatchObject({ code: 'CONFIG_CLOSED' });
    server.closeAllConnections();
    server.close();
    await settled();
  });

  it('lets the process end, also while everything is at work', async () => {
    const path = await file('app.json', '{"a":1}');
    await using program = spawnNode({
      from: import.meta.url,
      code: `
        import { createConfigManager, getConfigManager } from '@xiaoke/config';
        const config = await createConfigManager({ redis: 'redis://127.0.0.1:1', requireStore: false, env: { variables: {} } });
        await config.addFileSource(${JSON.stringify(path)});
        await config.setRemoteSource('http://127.0.0.1:1/x.json', { optional: true, pollInterval: 20 });
        const other = await getConfigManager();
        if (other !== (await getConfigManager())) throw new Error('two');
        void config.reload().catch(() => {});
        await Promise.all([config.close(), other.close()]);
        console.log('closed', config.get('a'), (await getConfigManager()) === other);
        await (await getConfigManager()).close();
      `,
    });
    expect(await program.exited).toEqual({ code: 0, signal: null });
    expect(program.output).toBe('closed 1 false\n');
  });
});

describe('the admin handler', () => {
  it('survives a request for what is no address', async () => {
    const handler = createAdminHandler(await make(), { authorize: () => true });
    const server = createServer((request, response) => handler(request, response));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    const socket = connect(typeof address === 'object' && address !== null ? address.port : 0, '127.0.0.1');
    socket.write('GET // HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n');
    const [answer] = (await once(socket, 'data')) as [Buffer];
    expect(answer.toString()).toMatch(/^HTTP\/1\.1 404 /);
    server.close();
  });
});
