import { afterEach, describe, it } from 'vitest';
import { createQueueManager, type QueueManager } from '../src/index.ts';
import { conformanceScenarios } from '../src/testing/index.ts';

const open: QueueManager[] = [];

afterEach(async () => {
  await Promise.all(open.splice(0).map((manager) => manager.close({ timeout: 1_000 })));
});

describe('the memory backend keeps every promise of the queue', () => {
  for (const { name, run } of conformanceScenarios) {
    it(name, async () => {
      await run({
        manager: async (options) => {
          const manager = await createQueueManager({ ...options, type: 'memory' });
          open.push(manager);
          return manager;
        },
      });
    });
  }
});
