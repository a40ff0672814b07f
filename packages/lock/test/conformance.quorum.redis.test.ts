import { startRedis } from '@xiaoke/test-servers';
import { runConformance } from './run-conformance.ts';

const servers = Promise.all([startRedis(), startRedis(), startRedis()]);

runConformance(
  'over a quorum of three Redis',
  async () => ({ quorum: (await servers).map(({ url }) => url) }),
  ['queue', 'semaphore'],
);
