import type { RedisLike } from '@xiaoke/core/redis';
import type { HolderEdges, WaitEdge } from '../backend.ts';
import { scripts } from './script-set.ts';

/** How long an edge stands that is not written again, in milliseconds: nobody believes a dead process for longer. */
const EDGE_TTL = 30_000;

/** Writes an edge beside the lock that is held. */
export async function writeEdge(client: RedisLike, key: string, edge: WaitEdge): Promise<void> {
  await scripts.edge.run(client, [key], [edge.attempt, JSON.stringify(edge), EDGE_TTL]);
}

/** Reads who has a lock, each with the edges that name this very hold; edges of earlier holds mean nothing. */
export async function readEdges(client: RedisLike, keys: readonly string[]): Promise<readonly HolderEdges[]> {
  const [holders, texts] = (await scripts.edges.run(client, keys)) as [string[], string[]];
  const edges = texts.map((text) => JSON.parse(text) as WaitEdge);
  return holders.map((holdId) => ({ holdId, edges: edges.filter((edge) => edge.holdId === holdId) }));
}
