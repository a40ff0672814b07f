/**
 * All components at work together, without the service around them: what a backend of your own would do.
 *
 * It runs on memory; give it REDIS_URL and the queue, the locks, the cache and the configuration live on Redis.
 */
import { createCacheManager } from '@xiaoke/cache';
import { createConfigManager } from '@xiaoke/config';
import { createHealthCheckManager } from '@xiaoke/health';
import { createLockManager, LockType } from '@xiaoke/lock';
import { createMetricsCollector } from '@xiaoke/metrics';
import { asyncTask, createQueueManager, TaskPriority } from '@xiaoke/queue';
import { createResilienceManager } from '@xiaoke/resilience';

interface User {
  readonly id: string;
  readonly name: string;
}

interface Tasks {
  process_request: { payload: { userId: string; user: User }; result: { handled: string } };
}

/** What the example saw, for its test. */
export interface ExampleReport {
  readonly databaseLoads: number;
  readonly handled: readonly string[];
  readonly scheduled: string;
  readonly attemptsOfFlakyCall: number;
  readonly modes: readonly string[];
  readonly metrics: string;
}

/** Runs the example once and closes everything again. */
export async function advancedIntegration(redisUrl?: string): Promise<ExampleReport> {
  const redis = redisUrl === undefined ? {} : { redis: redisUrl };

  // 1. Every component, made from plain options; metrics first, since the others report to it.
  const metrics = createMetricsCollector({ constLabels: { service: 'example' } });
  const config = await createConfigManager({
    ...redis,
    namespace: 'example',
    defaults: { service: { degraded_mode: false } },
  });
  const locks = await createLockManager({ ...redis, namespace: 'example', metrics });
  const cache = createCacheManager<User>({ ...redis, namespace: 'example', ttl: '5m', metrics });
  const queue = await createQueueManager<Tasks>({
    ...redis,
    namespace: 'example',
    queues: ['default', 'high_priority'],
    metrics,
  });
  const resilience = createResilienceManager();
  const health = createHealthCheckManager({ metrics });

  try {
    // 2. Configuration and health work together: an unhealthy dependency turns degraded mode on, and back off.
    const modes: string[] = [];
    config.addChangeCallback(({ changes }) => {
      for (const { path, value } of changes)
        if (path === 'service.degraded_mode') modes.push(value === true ? 'degraded' : 'normal');
    });
    let dependencyIsWell = true;
    health.registerCustomChecker('dependency', () => dependencyIsWell, { config: { failureThreshold: 1 } });
    health.registerIndicator(queue.healthIndicator());
    const followed: Promise<unknown>[] = [];
    health.addStatusChangeCallback((_before, now) => {
      followed.push(config.set('service.degraded_mode', now === 'unhealthy', { author: 'health' }));
    });
    await health.start();

    // 3. Lock, cache and queue: consistent, loaded once, done later.
    let databaseLoads = 0;
    const loadUser = async (id: string): Promise<User> => {
      databaseLoads += 1;
      return { id, name: `User ${id}` };
    };
    const handled: string[] = [];
    queue.registerTaskHandler('process_request', async ({ user }, { attempt }) => {
      handled.push(`${user.name}, attempt ${attempt}`);
      return { handled: user.id };
    });
    await queue.startWorkers({ count: 4, queues: ['default', 'high_priority'] });
    const processMedicalRequest = async (userId: string): Promise<string> => {
      const task = await locks.withLock(`user:${userId}`, LockType.EXCLUSIVE, async () => {
        const user = await cache.getOrSet(`user:${userId}`, () => loadUser(userId));
        return await queue.enqueueTask('process_request', { userId, user }, { priority: TaskPriority.HIGH });
      });
      return (await task.result({ timeout: '10s' })).handled;
    };
    await Promise.all(['123', '456', '123', '123'].map(processMedicalRequest));

    // 4. A function as a task: calling it runs it, `.enqueue` sends it to a worker.
    const schedule = asyncTask({
      manager: queue as never,
      name: 'schedule_medical_resource',
      queue: 'high_priority',
    })(async function scheduleMedicalResource(userId: string, room: string) {
      return `${room} for ${userId}`;
    });
    queue.registerTasks(schedule);
    const scheduled = await (await schedule.enqueue('123', 'room 7')).result({ timeout: '10s' });

    // 5. A flaky call behind a named policy.
    let attemptsOfFlakyCall = 0;
    const policy = resilience.policy('insurer', {
      retry: { attempts: 4, baseDelay: 5 },
      circuitBreaker: {},
      timeout: '1s',
    });
    await policy.execute(async () => {
      attemptsOfFlakyCall += 1;
      if (attemptsOfFlakyCall < 3) throw new Error('the insurer did not answer');
    });

    // 6. The dependency fails and recovers; the configuration follows.
    dependencyIsWell = false;
    await health.check('dependency');
    await Promise.all(followed);
    dependencyIsWell = true;
    await health.check('dependency');
    await Promise.all(followed);

    const { body } = await metrics.metrics();
    return {
      databaseLoads,
      handled,
      scheduled,
      attemptsOfFlakyCall,
      modes,
      metrics: String(body),
    };
  } finally {
    // 7. The last made is closed first; every close is bounded in time.
    for (const part of [health, resilience, queue, cache, locks, config, metrics]) await part.close();
  }
}
