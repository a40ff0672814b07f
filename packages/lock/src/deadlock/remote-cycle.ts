import type { HolderEdges, WaitEdge } from '../backend.ts';
import type { DeadlockStep } from '../errors.ts';

/** An edge of a cycle: whoever holds `key` waits as `edge` says. */
export interface CycleEdge {
  readonly key: string;
  readonly edge: WaitEdge;
}

/** How far edges are followed. */
const MAX_LENGTH = 64;

/**
 * Follows edges from `start` depth first until they come to a hold in `mine`.
 *
 * @param read - who has a key, and what they wait for
 */
export async function findCycle(
  start: string,
  mine: ReadonlyMap<string, WaitEdge>,
  read: (key: string) => Promise<readonly HolderEdges[]>,
): Promise<readonly CycleEdge[] | undefined> {
  const seen = new Set<string>();
  const search = async (
    key: string,
    path: readonly CycleEdge[],
  ): Promise<readonly CycleEdge[] | undefined> => {
    if (seen.has(key) || path.length >= MAX_LENGTH) return undefined;
    seen.add(key);
    for (const { holdId, edges } of await read(key)) {
      const own = mine.get(holdId);
      if (own !== undefined) return [...path, { key, edge: own }];
      for (const edge of edges) {
        const cycle = await search(edge.waitsFor, [...path, { key, edge }]);
        if (cycle !== undefined) return cycle;
      }
    }
    return undefined;
  };
  return search(start, []);
}

/** Whether both are made of the same holds and the same attempts. */
export function sameCycle(one: readonly CycleEdge[], other: readonly CycleEdge[]): boolean {
  return (
    one.length === other.length &&
    one.every(({ key, edge }, index) => {
      const twin = other[index];
      return (
        twin !== undefined &&
        twin.key === key &&
        twin.edge.holdId === edge.holdId &&
        twin.edge.attempt === edge.attempt
      );
    })
  );
}

/** Who gives way: the lowest priority, then the one that has waited least, then the largest attempt id. */
export function victimOf(cycle: readonly CycleEdge[]): CycleEdge {
  return cycle.reduce((victim, other) => (compare(other.edge, victim.edge) > 0 ? other : victim));
}

function compare(a: WaitEdge, b: WaitEdge): number {
  if (a.priority !== b.priority) return b.priority - a.priority;
  if (a.since !== b.since) return a.since - b.since;
  return a.attempt < b.attempt ? -1 : 1;
}

/** For the message that tells a victim. */
export function encodeCycle(cycle: readonly CycleEdge[]): string {
  const steps: DeadlockStep[] = cycle.map(({ key, edge }) => ({
    key,
    waitsFor: edge.waitsFor,
    owner: edge.owner,
  }));
  return JSON.stringify(steps);
}

/** The inverse of {@link encodeCycle}; a message that is none gives an empty cycle. */
export function decodeCycle(encoded: string): readonly DeadlockStep[] {
  try {
    const steps: unknown = JSON.parse(encoded);
    return Array.isArray(steps) ? (steps as DeadlockStep[]) : [];
  } catch {
    return [];
  }
}
