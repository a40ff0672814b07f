/** Reading a value: by path from each library, and through a reference. c12 gives a plain object and has no get by path. */
import { createConfigManager } from '@xiaoke/config';
import { compare, type Figures } from '../harness.ts';
import { makeTree, PATHS, readers, type Read } from './support/readers.ts';

const CALLS = 1_200_000;

/** Times `CALLS` reads over all paths in turn, and takes the best of three, since one interruption is longer than all. */
function timed(read: Read): number {
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < 3; round += 1) {
    let sum = 0;
    const start = performance.now();
    for (let call = 0; call < CALLS / PATHS.length; call += 1) {
      for (const path of PATHS) if (read(path) !== undefined) sum += 1;
    }
    const elapsed = performance.now() - start;
    if (sum !== CALLS) throw new Error('a value is missing');
    best = Math.min(best, (elapsed / CALLS) * 1e6);
  }
  return best;
}

/** As {@link timed}, of a reference that follows a value. */
function timedRef(ref: { readonly value: unknown }): number {
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < 3; round += 1) {
    let sum = 0;
    const start = performance.now();
    for (let call = 0; call < CALLS; call += 1) if (ref.value !== undefined) sum += 1;
    const elapsed = performance.now() - start;
    if (sum !== CALLS) throw new Error('a value is missing');
    best = Math.min(best, (elapsed / CALLS) * 1e6);
  }
  return best;
}

const all = await readers();
const config = await createConfigManager({ defaults: makeTree() });
const ref = config.ref('section7.group2.key4');
const candidates = Object.fromEntries(
  Object.entries(all).map(([name, read]) => [name, (): Figures => ({ 'ns/get': timed(read) })]),
);

await compare({
  name: 'config/reads',
  rounds: 7,
  candidates: {
    ...candidates,
    'xiaoke ref().value': (): Figures => ({ 'ns/get': timedRef(ref) }),
  },
  lowerIsBetter: ['ns/get'],
  bars: [
    { figure: 'ns/get', atMost: 40 },
    { figure: 'ns/get', versus: 'best peer', atMost: 1 / 4 },
    { figure: 'ns/get', of: 'xiaoke ref().value', atMost: 8 },
  ],
});
process.exit();
