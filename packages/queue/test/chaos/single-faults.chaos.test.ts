import { describe, expect, it } from 'vitest';
import { Battlefield, pause, SLOTS } from './battlefield.ts';

const COUNT = 600;
const TIMES = 3;

/** The most tasks that may run again for one such fault. */
const mayRunAgain: Readonly<Record<string, number>> = {
  'replies lost': 0,
  'connections reset': 0,
  'clients killed': 0,
  'scripts flushed': 0,
  'worker killed': SLOTS,
  'worker frozen past its lease': SLOTS,
  // These are over, or found out, before a lease is.
  'network silent': 0,
  'connections stranded': 0,
  'Redis killed': 0,
};

describe('nothing is lost, and no more tasks run again than the fault took from their worker', () => {
  it.each(Object.entries(mayRunAgain))(
    'with %s',
    async (fault, most) => {
      await using field = await Battlefield.prepare('single', { lease: most === 0 ? '6s' : '2s' });
      let firing = true;
      const fire = (async () => {
        for (let time = 0; time < TIMES; time += 1) {
          await pause(100);
          await field.inject(fault);
        }
        firing = false;
      })();
      const tasks = await field.produce(COUNT, () => firing);
      await fire;
      const report = await field.settle(tasks, 90_000);
      expect(report).toMatchObject({ tasks: COUNT, lost: 0, unexplained: 0, faults: { [fault]: TIMES } });
      expect(report.ranAgain).toBeLessThanOrEqual(most * TIMES);
    },
    150_000,
  );
});
