import type { LockEngine } from './engine.ts';
import type { Part } from './part.ts';

/** One token for several keys: larger than every earlier one of each, and every later one shall be larger. */
export async function levelTokens({ backend, bounded }: LockEngine, parts: readonly Part[]): Promise<void> {
  for (const part of parts) part.hold.sealed = true;
  if (backend.tokensAreGlobal) return;
  const largest = Math.max(...parts.map((part) => part.token));
  await Promise.all(
    parts.map(({ resource }) => bounded.run(() => backend.raise(resource, largest), 'raising of a token')),
  );
}
