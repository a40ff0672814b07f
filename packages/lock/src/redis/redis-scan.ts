import { isRedisCluster, type RedisConnection, type RedisLike } from '@xiaoke/core/redis';
import type { Resource } from '../backend.ts';
import type { RedisKeys } from './redis-keys.ts';

/** Every resource that is held or waited for, each once, without blocking the server. */
export async function* scanResources(connection: RedisConnection, keys: RedisKeys): AsyncIterable<Resource> {
  const seen = new Set<string>();
  for await (const key of scanAll(connection, keys.patterns())) {
    const resource = keys.parse(key);
    const id = `${resource?.kind}:${resource?.key}`;
    if (resource === undefined || seen.has(id)) continue;
    seen.add(id);
    yield resource;
  }
}

async function* scanAll({ client }: RedisConnection, patterns: readonly string[]): AsyncIterable<string> {
  const nodes: readonly RedisLike[] = isRedisCluster(client) ? client.nodes('master') : [client];
  for (const node of nodes) for (const pattern of patterns) yield* scan(node, pattern);
}

async function* scan(node: RedisLike, pattern: string): AsyncIterable<string> {
  let cursor = '0';
  do {
    const [next, found] = (await node.call('SCAN', cursor, 'MATCH', pattern, 'COUNT', 500)) as [
      string,
      string[],
    ];
    yield* found;
    cursor = next;
  } while (cursor !== '0');
}
