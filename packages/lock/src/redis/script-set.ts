import { RedisScript, type RedisArgument, type RedisLike } from '@xiaoke/core/redis';
import * as embedded from './scripts.generated.ts';

/** What the scripts do. */
export type ScriptName =
  | 'fast'
  | 'fastMany'
  | 'acquire'
  | 'attempt'
  | 'releaseFast'
  | 'releaseMany'
  | 'release'
  | 'renew'
  | 'renewMany'
  | 'cancel'
  | 'upgrade'
  | 'downgrade'
  | 'force'
  | 'inspect'
  | 'edge'
  | 'edges'
  | 'raise';

/** Every script of this package. */
export const scripts: Readonly<Record<ScriptName, RedisScript>> = {
  fast: new RedisScript(embedded.fastScript.source),
  fastMany: new RedisScript(embedded.fastManyScript.source),
  acquire: new RedisScript(embedded.acquireScript.source),
  attempt: new RedisScript(embedded.attemptScript.source),
  releaseFast: new RedisScript(embedded.releaseFastScript.source),
  releaseMany: new RedisScript(embedded.releaseManyScript.source),
  release: new RedisScript(embedded.releaseScript.source),
  renew: new RedisScript(embedded.renewScript.source),
  renewMany: new RedisScript(embedded.renewManyScript.source),
  cancel: new RedisScript(embedded.cancelScript.source),
  upgrade: new RedisScript(embedded.upgradeScript.source),
  downgrade: new RedisScript(embedded.downgradeScript.source),
  force: new RedisScript(embedded.forceScript.source),
  inspect: new RedisScript(embedded.inspectScript.source),
  edge: new RedisScript(embedded.edgeScript.source),
  edges: new RedisScript(embedded.edgesScript.source),
  raise: new RedisScript(embedded.raiseScript.source),
};

/** Runs a script whose reply is a list of integers. */
export async function runForNumbers(
  script: RedisScript,
  client: RedisLike,
  keys: readonly string[],
  args: readonly RedisArgument[],
): Promise<readonly number[]> {
  const reply = await script.run(client, keys, args);
  return Array.isArray(reply) ? (reply as number[]) : [Number(reply)];
}
