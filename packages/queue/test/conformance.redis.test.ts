import { afterEach, beforeAll, describe, it } from 'vitest';
import { sharedRedis, type SharedRedis } from '@xiaoke/test-servers';
import { createQueueManager, type QueueManager } from '../src/index.ts';
import { conformanceScenarios } from '../src/testing/index.ts';

const open: QueueManager[] = [];
let redis: SharedRedis;

beforeAll(async () => {
  redis = await sharedRedis();
});

afterEach(async () => {
  await Promise.all(open.splice(0).map((manager) => manager.close({ timeout: 1_000 })));
});

describe('the Redis backend keeps every promise of the queue', () => {
  for (const { name, run } of conformanceScenarios) {
    it(name, async () => {
      const prefix = redis.prefix();
      await run({
        manager: async (options, share) => {
          const namespace = share === undefined ? redis.prefix() : `${prefix}${share}`;
          const manager = await createQueueManager({ ...options, redis: redis.url, namespace });
          open.push(manager);
          return manager;
        },
      });
    });
  }
});
