import { execFile } from 'node:child_process';
import { argv, execPath, stdout } from 'node:process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Figures } from '../../harness.ts';

const run = promisify(execFile);

/** Candidates that are measured in a process of their own, so that none runs on code that was optimised for another. */
export type Isolated = Readonly<Record<string, () => Promise<Figures> | Figures>>;

/**
 * In the child: measures the one candidate it was asked for, prints its figures and gives undefined. In the parent: the
 * candidates as the harness takes them.
 *
 * @param args - for the children, such as the address of a server that the parent has started
 */
export async function isolated(
  file: string,
  candidates: Isolated,
  args: readonly string[] = [],
): Promise<Isolated | undefined> {
  const asked = argument('candidate');
  if (asked !== undefined) {
    const measure = candidates[asked];
    if (measure === undefined) throw new Error(`no candidate called ${asked}`);
    const figures = await measure();
    stdout.write(`\n${JSON.stringify(figures)}\n`, () => process.exit(0));
    return undefined;
  }
  return Object.fromEntries(
    Object.keys(candidates).map((name) => [name, async () => spawned(fileURLToPath(file), name, args)]),
  );
}

/** The value of `--name=value`, if this process was given one. */
export function argument(name: string): string | undefined {
  const start = `--${name}=`;
  return argv.find((one) => one.startsWith(start))?.slice(start.length);
}

async function spawned(file: string, name: string, args: readonly string[]): Promise<Figures> {
  const all = ['--expose-gc', file, `--candidate=${name}`, ...args];
  const result = await run(execPath, all, { maxBuffer: 2 ** 24 });
  return JSON.parse(result.stdout.trim().split('\n').at(-1) ?? '') as Figures;
}

/** Zipf-like order over `size` keys, the same in every run. */
export function zipfOrder(size: number, length: number, exponent: number = 1): Int32Array {
  const cumulative = new Float64Array(size);
  let sum = 0;
  for (let i = 0; i < size; i += 1) {
    sum += 1 / (i + 1) ** exponent;
    cumulative[i] = sum;
  }
  const random = mulberry32(7);
  return Int32Array.from({ length }, () => {
    const wanted = random() * sum;
    let low = 0;
    let high = size - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((cumulative[middle] ?? 0) < wanted) low = middle + 1;
      else high = middle;
    }
    return low;
  });
}

/** A small generator with a seed (Tommy Ettinger's mulberry32). */
export function mulberry32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
