import { readFile, readdir } from 'node:fs/promises';
import { getHeapSpaceStatistics } from 'node:v8';
import { isMainThread } from 'node:worker_threads';
import type { RuntimeContext } from './runtime.ts';

/**
 * CPU, memory, file descriptors and start time of the process, under prom-client's names. They are the main thread's to
 * tell: every thread would see the same.
 */
export function processMetrics({ collector, counter, clock, signal }: RuntimeContext): void {
  if (!isMainThread) return;
  counter('process_cpu_user_seconds_total', 'User CPU time.', () => process.cpuUsage().user / 1e6);
  counter('process_cpu_system_seconds_total', 'System CPU time.', () => process.cpuUsage().system / 1e6);
  counter('process_cpu_seconds_total', 'User and system CPU time.', () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6;
  });
  const gauge = (
    name: string,
    help: string,
    read: () => number | undefined | Promise<number | undefined>,
  ): void => {
    collector.gauge({
      name,
      help,
      signal,
      collect: async (self) => {
        const value = await read();
        if (value !== undefined) self.set(value);
      },
    });
  };
  const started = clock.now() / 1_000 - process.uptime();
  gauge('process_start_time_seconds', 'When the process started.', () => started);
  gauge('process_resident_memory_bytes', 'Resident memory.', () => process.memoryUsage.rss());
  if (process.platform === 'linux') linux(gauge);
}

type DefineGauge = (name: string, help: string, read: () => Promise<number | undefined>) => void;

function linux(gauge: DefineGauge): void {
  const status = async (key: string): Promise<number | undefined> => {
    const match = new RegExp(`^${key}:\\s+(\\d+) kB`, 'm').exec(await readFile('/proc/self/status', 'utf8'));
    return match === null ? undefined : Number(match[1]) * 1_024;
  };
  gauge('process_virtual_memory_bytes', 'Virtual memory.', () => status('VmSize'));
  gauge('process_heap_bytes', 'Data segment, as the kernel sees it.', () => status('VmData'));
  gauge(
    'process_open_fds',
    'Open file descriptors.',
    async () => (await readdir('/proc/self/fd')).length - 1,
  );
  gauge('process_max_fds', 'Most file descriptors allowed.', async () => {
    const match = /^Max open files\s+(\d+)/m.exec(await readFile('/proc/self/limits', 'utf8'));
    return match === null ? undefined : Number(match[1]);
  });
}

/** The JavaScript heap, in all and by space, and the version. */
export function heapMetrics({ collector, signal }: RuntimeContext): void {
  const memory = collector.gauge({
    name: 'nodejs_memory_bytes',
    help: 'Memory of the JavaScript engine by kind.',
    labels: { kind: ['heap_total', 'heap_used', 'external', 'array_buffers'] },
    signal,
    collect: () => {
      const usage = process.memoryUsage();
      memory.set({ kind: 'heap_total' }, usage.heapTotal);
      memory.set({ kind: 'heap_used' }, usage.heapUsed);
      memory.set({ kind: 'external' }, usage.external);
      memory.set({ kind: 'array_buffers' }, usage.arrayBuffers);
    },
  });
  const spaces = collector.gauge({
    name: 'nodejs_heap_space_size_bytes',
    help: 'Size of a heap space.',
    labels: { space: String, state: ['total', 'used', 'available'] },
    signal,
    collect: () => {
      for (const space of getHeapSpaceStatistics()) {
        const name = space.space_name.replace(/_space$/, '');
        spaces.set({ space: name, state: 'total' }, space.space_size);
        spaces.set({ space: name, state: 'used' }, space.space_used_size);
        spaces.set({ space: name, state: 'available' }, space.space_available_size);
      }
    },
  });
  const resources = collector.gauge({
    name: 'nodejs_active_resources',
    help: 'What keeps the event loop alive, by kind.',
    labels: { kind: String },
    signal,
    collect: () => {
      resources.reset();
      const counts = new Map<string, number>();
      for (const kind of process.getActiveResourcesInfo()) counts.set(kind, (counts.get(kind) ?? 0) + 1);
      for (const [kind, count] of counts) resources.set({ kind }, count);
    },
  });
  const version = collector.info({
    name: 'nodejs_version',
    help: 'The Node.js version.',
    labels: { version: String, major: String },
  });
  version.set({ version: process.version, major: process.versions.node.split('.')[0] ?? '' });
}
