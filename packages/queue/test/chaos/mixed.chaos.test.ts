import { expect, it } from 'vitest';
import { Battlefield, pause, SLOTS } from './battlefield.ts';

// `XIAOKE_CHAOS=nightly` runs 50,000 tasks through twelve rounds of every fault.
const NIGHTLY = process.env['XIAOKE_CHAOS'] === 'nightly';

it(
  'nothing acknowledged is lost under all faults together, and only tasks of workers that were hit run again',
  async () => {
    await using field = await Battlefield.prepare('chaos');
    let firing = true;
    const fire = (async () => {
      for (let round = 0; round < (NIGHTLY ? 12 : 1); round += 1) {
        for (const fault of Object.keys(field.faults)) {
          await pause(150);
          await field.inject(fault);
        }
      }
      firing = false;
    })();
    const tasks = await field.produce(NIGHTLY ? 50_000 : 5_000, () => firing);
    await fire;
    const report = await field.settle(tasks, NIGHTLY ? 300_000 : 150_000);
    console.log(JSON.stringify(report));
    expect(report.lost).toBe(0);
    expect(report.unexplained).toBe(0);
    expect(Object.keys(report.faults)).toEqual(Object.keys(field.faults));
    // One that is killed or frozen has at most its slots' worth of tasks: a slot waits for the acknowledgement.
    for (const fault of ['worker killed', 'worker frozen past its lease'])
      expect(report.byFault[fault] ?? 0).toBeLessThanOrEqual((report.faults[fault] ?? 0) * SLOTS);
  },
  NIGHTLY ? 900_000 : 240_000,
);
