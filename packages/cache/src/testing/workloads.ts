import type { Random } from '@xiaoke/core';

/** A repeatable sequence of requests: each number is a key. */
export interface Workload {
  readonly name: string;
  readonly requests: () => Int32Array;
}

/** A small random generator with a seed (mulberry32, Tommy Ettinger). */
export function seeded(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** Draws from `0..size-1`, the first the most often: the frequency of a rank falls with its power `exponent`. */
export function zipf(size: number, exponent: number, random: Random): () => number {
  const cumulative = new Float64Array(size);
  let sum = 0;
  for (let i = 0; i < size; i += 1) {
    sum += 1 / (i + 1) ** exponent;
    cumulative[i] = sum;
  }
  for (let i = 0; i < size; i += 1) cumulative[i] = (cumulative[i] ?? 0) / sum;
  return () => {
    const drawn = random();
    let low = 0;
    let high = size - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((cumulative[middle] ?? 0) < drawn) low = middle + 1;
      else high = middle;
    }
    return low;
  };
}

const KEYS = 100_000;
const LENGTH = 1_000_000;

/** A steady popularity, as most web workloads have. */
export function zipfWorkload(exponent: number, length: number = LENGTH): Workload {
  return {
    name: `zipf ${exponent}`,
    requests: () => Int32Array.from({ length }, zipf(KEYS, exponent, seeded(1))),
  };
}

/** A steady popularity, and a scan over 50,000 new keys after each 100,000 requests. */
export function scanWorkload(length: number = LENGTH): Workload {
  const requests = (): Int32Array => {
    const draw = zipf(KEYS, 1, seeded(2));
    const result = new Int32Array(length);
    let next = KEYS;
    for (let i = 0; i < length; i += 1) {
      if (i % 150_000 < 100_000) result[i] = draw();
      else {
        result[i] = next;
        next += 1;
      }
    }
    return result;
  };
  return { name: 'zipf 1 with scans', requests };
}

/** Round and round over 11,000 keys. */
export function loopWorkload(length: number = LENGTH / 2): Workload {
  return { name: 'loop of 11,000', requests: () => Int32Array.from({ length }, (_, i) => i % 11_000) };
}

/** What is popular moves by a tenth of the keys after each 50,000 requests. */
export function shiftingWorkload(length: number = LENGTH): Workload {
  const requests = (): Int32Array => {
    const draw = zipf(KEYS, 1, seeded(3));
    let offset = 0;
    return Int32Array.from({ length }, (_, i) => {
      if (i % 50_000 === 0) offset += KEYS / 10;
      return (draw() + offset) % (4 * KEYS);
    });
  };
  return { name: 'shifting zipf 1', requests };
}

/** Three requests in ten are for a key that never comes again. */
export function oneHitWorkload(length: number = LENGTH): Workload {
  const requests = (): Int32Array => {
    const random = seeded(4);
    const draw = zipf(KEYS, 0.9, random);
    let next = 10 * KEYS;
    return Int32Array.from({ length }, () => (random() < 0.3 ? next++ : draw()));
  };
  return { name: 'one in three once, zipf 0.9', requests };
}

/** Four requests in five are for something recent. */
export function recencyWorkload(length: number = LENGTH): Workload {
  const requests = (): Int32Array => {
    const random = seeded(5);
    const history = new Int32Array(length);
    let next = 0;
    for (let i = 0; i < length; i += 1) {
      if (i > 100 && random() < 0.8) {
        const distance = Math.min(i - 1, Math.floor(-Math.log(1 - random()) * 5_000));
        history[i] = history[i - 1 - distance] ?? 0;
      } else {
        history[i] = next;
        next += 1;
      }
    }
    return history;
  };
  return { name: 'recency', requests };
}
