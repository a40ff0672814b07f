import type { Target } from './target.ts';

/** Points of one instance of mean weight: more of them are fairer and take more memory. */
const POINTS = 100;

/** Keys go round a ring to the next point (Karger et al., 1997): when an instance leaves, only its own keys move. */
export class HashRing {
  readonly #points: readonly { readonly at: number; readonly target: Target }[];

  constructor(targets: readonly Target[]) {
    const points = targets.flatMap((target) =>
      Array.from({ length: Math.max(1, Math.round(POINTS * target.weight)) }, (_, index) => ({
        at: hash(`${target.instance.id}#${index}`),
        target,
      })),
    );
    this.#points = points.sort((a, b) => a.at - b.at);
  }

  /** The instance of a key; the next one round the ring where `usable` says no. */
  find(key: string, usable: (target: Target) => boolean = () => true): Target | undefined {
    const start = this.#firstFrom(hash(key));
    for (let step = 0; step < this.#points.length; step += 1) {
      const target = this.#points[(start + step) % this.#points.length]?.target;
      if (target !== undefined && usable(target)) return target;
    }
    return undefined;
  }

  #firstFrom(at: number): number {
    let low = 0;
    let high = this.#points.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#points[middle]?.at ?? 0) < at) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** FNV-1a with the finaliser of MurmurHash3, which spreads what FNV leaves together for similar texts. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let index = 0; index < text.length; index += 1)
    value = Math.imul(value ^ text.charCodeAt(index), 0x01000193);
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35);
  return (value ^ (value >>> 16)) >>> 0;
}
