import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { RedisServer } from '@xiaoke/test-servers';
import type { Figures } from '../../harness.ts';

const CHILD = fileURLToPath(new URL('child.js', import.meta.url));
const run = promisify(execFile);

/** What one candidate does in a process of its own. */
export interface ChildWork {
  readonly mode: 'process' | 'enqueue' | 'bulk';
  readonly candidate: string;
  readonly queue: string;
  readonly warm: number;
  readonly count: number;
  /** Slots, or how many are in flight. */
  readonly width: number;
}

/** Measures a candidate on an empty server; the tasks that it is to process come from another process. */
export async function measureInChild(redis: RedisServer, work: ChildWork): Promise<Figures> {
  const { mode, candidate, queue, warm, count, width } = work;
  const where = [candidate, redis.url, queue];
  if (mode === 'process')
    await run(process.execPath, [CHILD, 'fill', ...where, String(warm + count)], { timeout: 300_000 });
  const numbers = [warm, count, width].map(String);
  const { stdout } = await run(process.execPath, [CHILD, mode, ...where, ...numbers], { timeout: 300_000 });
  await redis.cli('FLUSHALL');
  return JSON.parse(stdout) as Figures;
}
