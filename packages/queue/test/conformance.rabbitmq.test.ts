import { randomBytes } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, it } from 'vitest';
import { sharedRedis, startRabbitMq, type RabbitMqServer, type SharedRedis } from '@xiaoke/test-servers';
import { createQueueManager, type QueueManager, type QueueManagerOptions } from '../src/index.ts';
import { conformanceScenarios } from '../src/testing/index.ts';

const open: QueueManager[] = [];
let broker: RabbitMqServer;
let redis: SharedRedis;

beforeAll(async () => {
  [broker, redis] = await Promise.all([startRabbitMq(), sharedRedis()]);
}, 120_000);

afterEach(async () => {
  await Promise.all(open.splice(0).map((manager) => manager.close({ timeout: 1_000 })));
});

afterAll(async () => {
  await broker.stop();
});

// What waits in the ledger, and what other managers see, needs one that outlives the process.
const NOT_IN_MEMORY =
  /^a unique key|^a group runs|^a parent |^a child |^drain cancels a flow|^a payload may be|^one manager sees|^a schedule (fires|that many)|from another manager$|no handler/;

const stores: Readonly<Record<string, () => QueueManagerOptions>> = {
  stream: () => ({}),
  redis: () => ({ redis: redis.url }),
  memory: () => ({ rabbitmqOptions: { statusStore: 'memory' } }),
};

for (const [store, options] of Object.entries(stores)) {
  describe(`the RabbitMQ backend with its status store in ${store} keeps the promises of the queue`, () => {
    const scenarios = conformanceScenarios.filter(
      ({ name }) => store !== 'memory' || !NOT_IN_MEMORY.test(name),
    );
    for (const { name, run } of scenarios) {
      it(
        name,
        async () => {
          const prefix = randomBytes(6).toString('hex');
          let made = 0;
          await run({
            manager: async (wanted, share) => {
              made += 1;
              const manager = await createQueueManager({
                ...wanted,
                ...options(),
                type: 'rabbitmq',
                rabbitmq: broker.url,
                namespace: `${prefix}.${share ?? made}`,
              });
              open.push(manager);
              return manager;
            },
          });
        },
        30_000,
      );
    }
  });
}
