import { startRedisSentinel } from '@xiaoke/test-servers';
import { afterAll } from 'vitest';
import { runConformance } from './run-conformance.ts';

const group = await startRedisSentinel();

afterAll(() => group.stop());

runConformance('on Redis behind Sentinel', async () => ({
  sentinels: group.sentinels.map(({ host, port }) => ({ host, port })),
  name: group.name,
}));
