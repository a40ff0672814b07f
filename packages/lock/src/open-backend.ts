import type { LockBackend } from './backend.ts';
import { UnsupportedError } from './errors.ts';
import { MemoryBackend } from './memory/memory-backend.ts';
import type { ResolvedOptions } from './options.ts';

/** Chooses the backend; what it needs is loaded only now. */
export async function openBackend(options: ResolvedOptions): Promise<LockBackend> {
  const { redis, clock, namespace } = options;
  if (redis === undefined) return new MemoryBackend(clock, namespace);
  throw new UnsupportedError('Redis is not there yet');
}
