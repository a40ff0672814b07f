import type { Waiting } from '../attempt.ts';
import type { DeadlockStep } from '../errors.ts';
import type { Part } from '../part.ts';

/**
 * Looks for a cycle through `waiting` among the holds and waits of this process: whoever has what it waits for waits
 * itself, and so on, until somebody waits for what the caller of `waiting` holds.
 */
export function findLocalCycle(waiting: Waiting, processId: string): readonly DeadlockStep[] | undefined {
  const held = new Set(waiting.attempt.held);
  const seen = new Set<Part>();
  const search = (from: Waiting): DeadlockStep[] | undefined => {
    for (const part of from.host?.blockersOf(from) ?? []) {
      if (held.has(part)) return [step(part, waiting, processId)];
      if (seen.has(part)) continue;
      seen.add(part);
      for (const next of part.waits ?? []) {
        const rest = next.done ? undefined : search(next);
        if (rest !== undefined) return [step(part, next, processId), ...rest];
      }
    }
    return undefined;
  };
  return search(waiting);
}

function step(part: Part, waiting: Waiting, processId: string): DeadlockStep {
  const owner = part.hold.request.owner || waiting.attempt.config.owner || processId;
  return { key: part.resource.key, waitsFor: waiting.resource.key, owner };
}
