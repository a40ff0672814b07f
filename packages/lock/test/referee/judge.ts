/** What a holder says of one critical section; times are microseconds of the machine's monotonic clock. */
export interface Claim {
  readonly id: string;
  readonly key: string;
  readonly shared: boolean;
  readonly token: number;
  /** It was held then. */
  readonly from: number;
  /** It was still held then, by `assertHeld`; `from` when the holder was never heard of again. */
  until: number;
}

/** What the referee found. */
export interface Verdict {
  readonly sections: number;
  /** Two holders at one time, or tokens out of order. */
  readonly violations: readonly string[];
}

/**
 * Judges claims: no exclusive section overlaps another one of its key, and tokens grow in the order of the grants, for
 * exclusive sections against everything before and after them.
 */
export function judge(claims: Iterable<Claim>): Verdict {
  const byKey = new Map<string, Claim[]>();
  let sections = 0;
  for (const claim of claims) {
    sections += 1;
    const ofKey = byKey.get(claim.key);
    if (ofKey === undefined) byKey.set(claim.key, [claim]);
    else ofKey.push(claim);
  }
  return { sections, violations: [...byKey.values()].flatMap((ofKey) => judgeKey(ofKey)) };
}

function judgeKey(claims: readonly Claim[]): string[] {
  const violations: string[] = [];
  const nobody: Claim = { id: '', key: '', shared: true, token: 0, from: 0, until: 0 };
  let lastOut = nobody;
  let lastExclusiveOut = nobody;
  let newest = nobody;
  let newestExclusive = nobody;
  for (const claim of claims.toSorted((a, b) => a.from - b.from)) {
    const before = claim.shared ? lastExclusiveOut : lastOut;
    if (before.until > claim.from) violations.push(`two at once: ${describe(before)} and ${describe(claim)}`);
    const older = claim.shared ? newestExclusive : newest;
    if (claim.token <= older.token) violations.push(`tokens: ${describe(older)} before ${describe(claim)}`);
    if (claim.until > lastOut.until) lastOut = claim;
    if (claim.token > newest.token) newest = claim;
    if (claim.shared) continue;
    if (claim.until > lastExclusiveOut.until) lastExclusiveOut = claim;
    if (claim.token > newestExclusive.token) newestExclusive = claim;
  }
  return violations;
}

function describe({ id, key, token, from, until }: Claim): string {
  return `${id} (${key}, token ${token}, ${from} to ${until})`;
}
