import type { Cluster, Redis, RedisOptions } from 'ioredis';
import { expectTypeOf, test } from 'vitest';
import type { RedisOption } from '@xiaoke/core';

test('an ioredis client, cluster and options are accepted by shape', () => {
  expectTypeOf<Redis>().toExtend<RedisOption>();
  expectTypeOf<Cluster>().toExtend<RedisOption>();
  expectTypeOf<RedisOptions>().toExtend<RedisOption>();
});
