import { randomBytes } from 'node:crypto';
import { describe, test } from 'vitest';
import { createLockManager, type LockManager, type LockManagerOptions } from '../src/index.ts';
import { lockConformance, type Capability } from '../src/testing/index.ts';

/** A namespace that nobody else has. */
export function freshNamespace(): string {
  return `t${randomBytes(6).toString('hex')}`;
}

/** Runs every case that a backend can do. */
export function runConformance(
  name: string,
  redis: () => Promise<LockManagerOptions['redis']>,
  lacks: readonly Capability[] = [],
): void {
  describe(name, () => {
    for (const { name, needs = [], run } of lockConformance) {
      test.skipIf(needs.some((need) => lacks.includes(need)))(name, async () => {
        const made: LockManager[] = [];
        const shared = { redis: await redis(), namespace: freshNamespace() };
        try {
          await run({
            manager: async (options) => {
              const manager = await createLockManager({ ...options, ...shared });
              made.push(manager);
              return manager;
            },
          });
        } finally {
          await Promise.all(made.map((manager) => manager.close()));
        }
      });
    }
  });
}
