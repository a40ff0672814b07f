import type {
  HolderEdges,
  HolderRecord,
  ResourceRecord,
  Resource,
  WaitEdge,
  WaiterRecord,
} from '../backend.ts';

/** What a majority of the voters says about a resource. */
export function mergeRecords(
  resource: Resource,
  records: readonly ResourceRecord[],
  majority: number,
): ResourceRecord {
  const holders: HolderRecord[] = [];
  for (const same of groupByHold(records.flatMap((record) => record.holders))) {
    const [first] = same;
    if (first === undefined || same.length < majority) continue;
    const lives = same.map((holder) => holder.expiresInMs).sort((a, b) => b - a);
    holders.push({
      ...first,
      // It is held for as long as a majority keeps it.
      expiresInMs: lives[majority - 1] ?? 0,
      // All were told the holder's own; only one that is being given the hold back still shows a larger one.
      token: Math.min(...same.map(({ token }) => token)),
    });
  }
  const waiters: WaiterRecord[] = groupByHold(records.flatMap((record) => record.waiters)).flatMap(
    ([first]) => first ?? [],
  );
  return { resource, holders, waiters };
}

/** Who has a resource by a majority, with every edge that any voter knows of them. */
export function mergeEdges(
  answers: readonly (readonly HolderEdges[])[],
  majority: number,
): readonly HolderEdges[] {
  return groupByHold(answers.flat())
    .filter((same) => same.length >= majority)
    .map((same) => {
      const edges = new Map<string, WaitEdge>();
      for (const edge of same.flatMap((holder) => holder.edges)) edges.set(edge.attempt, edge);
      return { holdId: same[0]?.holdId ?? '', edges: [...edges.values()] };
    });
}

function groupByHold<T extends { readonly holdId: string }>(all: readonly T[]): T[][] {
  const groups = new Map<string, T[]>();
  for (const each of all) {
    const group = groups.get(each.holdId);
    if (group === undefined) groups.set(each.holdId, [each]);
    else group.push(each);
  }
  return [...groups.values()];
}
