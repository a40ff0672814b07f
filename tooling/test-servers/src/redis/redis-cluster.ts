import { eventually } from '../eventually.ts';
import { freePort } from '../free-port.ts';
import { startRedis, type RedisOptions, type RedisServer } from './redis-server.ts';

/** How {@link startRedisCluster} builds the cluster. */
export interface RedisClusterOptions {
  /** How many masters share the slots; Redis needs three for a majority. @default 3 */
  readonly nodes?: number;
  /** Milliseconds without an answer after which a node counts as failed. @default 2000 */
  readonly nodeTimeoutMs?: number;
  /** @default false */
  readonly appendonly?: RedisOptions['appendonly'];
}

/** A private Redis Cluster of masters; each node has the faults of a {@link RedisServer}. */
export interface RedisCluster extends AsyncDisposable {
  readonly nodes: readonly RedisServer[];
  /** The node that holds a key's slot. */
  nodeOf(key: string): Promise<RedisServer>;
  /** Waits until every node sees every slot served again, as after a fault. */
  healthy(): Promise<void>;
  stop(): Promise<void>;
}

const SLOTS = 16_384;

/** Starts a private Redis Cluster, in about two seconds. */
export async function startRedisCluster(options: RedisClusterOptions = {}): Promise<RedisCluster> {
  const { nodes: count = 3 } = options;
  const started = await Promise.allSettled(Array.from({ length: count }, () => startNode(options)));
  const nodes = started.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  const stop = async (): Promise<void> => void (await Promise.all(nodes.map((node) => node.stop())));
  const healthy = (): Promise<void> => allSlotsServed(nodes);
  try {
    for (const result of started) if (result.status === 'rejected') throw result.reason;
    await join(nodes);
    await healthy();
  } catch (error) {
    await stop();
    throw error;
  }
  return { nodes, nodeOf: (key) => nodeOf(nodes, key), healthy, stop, [Symbol.asyncDispose]: stop };
}

async function startNode(options: RedisClusterOptions): Promise<RedisServer> {
  const { nodeTimeoutMs = 2000, appendonly = false } = options;
  // The usual bus port, 10,000 above, may belong to anybody.
  const busPort = String(await freePort());
  const timeout = String(nodeTimeoutMs);
  const args = ['--cluster-enabled', 'yes', '--cluster-port', busPort, '--cluster-node-timeout', timeout];
  return startRedis({ appendonly, args });
}

async function join(nodes: readonly RedisServer[]): Promise<void> {
  const share = SLOTS / nodes.length;
  for (const [index, node] of nodes.entries()) {
    const first = Math.round(index * share);
    const last = Math.round((index + 1) * share) - 1;
    await node.cli('CLUSTER', 'SET-CONFIG-EPOCH', String(index + 1));
    await node.cli('CLUSTER', 'ADDSLOTSRANGE', String(first), String(last));
  }
  const [seed, ...others] = nodes;
  for (const node of others) {
    await seed?.cli('CLUSTER', 'MEET', node.host, String(node.port), await busPortOf(node));
  }
}

async function busPortOf(node: RedisServer): Promise<string> {
  const [, port = ''] = (await node.cli('CONFIG', 'GET', 'cluster-port')).split('\n');
  return port;
}

async function allSlotsServed(nodes: readonly RedisServer[]): Promise<void> {
  await eventually(
    async () => {
      const views = await Promise.all(nodes.map((node) => node.cli('CLUSTER', 'INFO')));
      return views.every(
        (view) =>
          view.includes('cluster_state:ok') &&
          view.includes(`cluster_known_nodes:${nodes.length}`) &&
          view.includes(`cluster_slots_ok:${SLOTS}`),
      );
    },
    { timeoutMs: 30_000, everyMs: 50, what: 'the cluster to agree' },
  );
}

async function nodeOf(nodes: readonly RedisServer[], key: string): Promise<RedisServer> {
  const [asked] = nodes.filter((node) => node.running);
  const slot = Number(await asked?.cli('CLUSTER', 'KEYSLOT', key));
  const index = nodes.findIndex((_, i) => slot < Math.round(((i + 1) * SLOTS) / nodes.length));
  const node = nodes[index];
  if (node === undefined) throw new Error(`No node of the cluster answers for slot ${slot}`);
  return node;
}
