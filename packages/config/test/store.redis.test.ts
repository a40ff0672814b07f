import { describe, it } from 'vitest';
import { silentLogger, systemClock, systemRandom } from '@xiaoke/core';
import { configStoreContract } from '@xiaoke/config/testing';
import { MemoryConfigStore } from '@xiaoke/config';
import { sharedRedis } from '@xiaoke/test-servers';
import { RedisConfigStore } from '../src/redis/redis-store.ts';

const backends = {
  memory: async () => new MemoryConfigStore(),
  redis: async () => {
    const redis = await sharedRedis();
    return await RedisConfigStore.open({
      redis: redis.url,
      namespace: redis.prefix('c').replace(':', ''),
      environment: 'test',
      timeout: 3_000,
      clock: systemClock,
      random: systemRandom,
      logger: silentLogger,
    });
  },
};

for (const [name, open] of Object.entries(backends)) {
  describe(`the ${name} store keeps its contract:`, () => {
    for (const { name: promise, run } of configStoreContract(open)) it(promise, run);
  });
}
