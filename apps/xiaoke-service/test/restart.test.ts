import { startPostgres, startRedis, spawnNode, type NodeProcess } from '@xiaoke/test-servers';
import { expect, test } from 'vitest';
import { AT_ONCE, Client } from './support/client.ts';

const main = new URL('../src/main.ts', import.meta.url);

async function start(env: Readonly<Record<string, string>>): Promise<{ child: NodeProcess; client: Client }> {
  const child = spawnNode(main, { env: { ...env, PORT: '0' } });
  const line = await child.line(/serving at (\S+)/);
  return { child, client: new Client(/http\S+/.exec(line)?.[0] ?? '') };
}

test.each([
  ['SIGTERM', 0],
  ['SIGKILL', null],
] as const)(
  'after %s under load and a restart on the same servers, every accepted request ends',
  async (signal, code) => {
    await using redis = await startRedis({ appendonly: 'always' });
    await using postgres = await startPostgres();
    const env = {
      ...AT_ONCE,
      REDIS_URL: redis.url,
      DATABASE_URL: postgres.url,
      // What a killed process held comes back when its leases have run out.
      XIAOKE_MESSAGING__WORKERS__LEASE: '3s',
      XIAOKE_DISTRIBUTED_LOCK__DEFAULT_TIMEOUT: '3s',
    };
    const first = await start(env);
    const accepted: string[] = [];
    let stopped = false;
    const sending = Array.from({ length: 8 }, async (_, sender) => {
      for (let n = 0; !stopped; n += 1) {
        const body = {
          userId: `user-${String(1 + ((sender * 31 + n) % 300)).padStart(4, '0')}`,
          type: 'laboratory',
        };
        // Once it goes down, requests are refused; what matters is what was accepted.
        const id = await first.client.submit(body).catch(() => undefined);
        if (id !== undefined) accepted.push(id);
        if (accepted.length > 120) stopped = true;
      }
    });
    await Promise.race([...sending, new Promise((resolve) => setTimeout(resolve, 1_500))]);
    const dying = first.child.kill(signal);
    stopped = true;
    await Promise.all(sending);
    const exit = await dying;
    expect(exit.code).toBe(code);

    const second = await start(env);
    try {
      expect(accepted.length).toBeGreaterThan(0);
      const views = await second.client.ended(accepted);
      const slots = views.flatMap(({ result }) => result?.slot?.slotId ?? []);
      expect(new Set(slots).size).toBe(slots.length);
    } finally {
      await second.child.kill('SIGTERM');
    }
  },
  120_000,
);
