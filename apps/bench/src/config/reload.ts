/** From a save to the callback: renamed into place, and written in place. */
import { renameSync, writeFileSync } from 'node:fs';
import { compare, percentile, type Figures } from '../harness.ts';
import { c12, render, xiaoke, type Watched } from './support/watchers.ts';

const SAVES = Number(process.argv[2] ?? 25);
const PAUSE = 250;
const TIMEOUT = 2_000;
const SETTLE = 50;

const save: Readonly<Record<string, (path: string, text: string) => void>> = {
  rename: (path, text) => {
    writeFileSync(`${path}.new`, text);
    renameSync(`${path}.new`, path);
  },
  'in place': (path, text) => writeFileSync(path, text),
};

let value = 0;

/** Saves again and again; gives the waits and how often the new value was there when the callback came. */
async function times(
  watched: Watched,
  write: (path: string, text: string) => void,
): Promise<[number[], number]> {
  const waits: number[] = [];
  let fresh = 0;
  for (let count = 0; count < SAVES; count += 1) {
    value += 1;
    const told = watched.next();
    write(watched.path, render(value));
    const start = performance.now();
    const seen = await Promise.race([told, new Promise((resolve) => setTimeout(resolve, TIMEOUT, 'lost'))]);
    waits.push(performance.now() - start);
    if (seen === value) fresh += 1;
    await new Promise((resolve) => setTimeout(resolve, PAUSE));
  }
  return [waits, fresh];
}

async function measure(open: () => Promise<Watched>): Promise<Figures> {
  const watched = await open();
  const figures: Record<string, number> = {};
  for (const [name, write] of Object.entries(save)) {
    const [waits, fresh] = await times(watched, write);
    figures[`${name} p50 ms`] = percentile(waits, 0.5);
    figures[`${name} p95 ms`] = percentile(waits, 0.95);
    figures[`${name} fresh`] = fresh / waits.length;
  }
  await watched.close();
  return figures;
}

await compare({
  name: 'config/reload',
  rounds: 3,
  candidates: { xiaoke: () => measure(xiaoke), c12: () => measure(c12) },
  lowerIsBetter: ['rename p50 ms', 'rename p95 ms', 'in place p50 ms', 'in place p95 ms'],
  bars: [
    { figure: 'rename p50 ms', atMost: 10 },
    { figure: 'in place p50 ms', atMost: SETTLE + 15 },
    { figure: 'rename p50 ms', versus: 'c12', atMost: 1 / 5 },
    { figure: 'rename fresh', atLeast: 1 },
    { figure: 'in place fresh', atLeast: 1 },
  ],
});
process.exit();
