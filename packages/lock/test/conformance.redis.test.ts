import { sharedRedis } from '@xiaoke/test-servers';
import { runConformance } from './run-conformance.ts';

runConformance('on Redis', async () => (await sharedRedis()).url);
