import { Redis } from 'ioredis';
import type { Figures } from '../../harness.ts';

/**
 * What a piece of work costs: wall time, this process's CPU and Redis's CPU, per task. `tasks` is asked at the moment when the
 * measuring starts.
 */
export async function costPerTask(
  redisUrl: string,
  tasks: number | (() => number),
  work: () => Promise<void>,
): Promise<Figures> {
  const admin = new Redis(redisUrl);
  const redisBefore = await redisCpu(admin);
  const count = typeof tasks === 'number' ? tasks : tasks();
  const cpu = process.cpuUsage();
  const start = performance.now();
  await work();
  const seconds = (performance.now() - start) / 1_000;
  const used = process.cpuUsage(cpu);
  const redisAfter = await redisCpu(admin);
  admin.disconnect();
  return {
    'tasks/s': count / seconds,
    'client cpu µs/task': (used.user + used.system) / count,
    'redis cpu µs/task': ((redisAfter - redisBefore) * 1e6) / count,
  };
}

/** Seconds of processor time that the server's main thread has used. */
async function redisCpu(admin: Redis): Promise<number> {
  const info = await admin.info('cpu');
  const field = (name: string): number => Number(new RegExp(`${name}:([\\d.]+)`).exec(info)?.[1] ?? 0);
  return field('used_cpu_user_main_thread') + field('used_cpu_sys_main_thread');
}
