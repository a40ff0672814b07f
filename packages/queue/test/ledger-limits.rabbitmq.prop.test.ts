import { describe, expect, it } from 'vitest';
import fc from 'fast-check';
import type { QueueLimits } from '../src/backend.ts';
import type { Command, Offer, Reply } from '../src/rabbitmq/ledger-commands.ts';
import { Ledger } from '../src/rabbitmq/ledger.ts';

const RETENTION = { finished: 0, dead: 10, deadAgeMs: 1e9 };
const EVENTS = {
  finished: () => {},
  scheduleChanged: () => {},
  cancelRequested: () => {},
  superseded: () => {},
  woken: () => {},
};

type Step =
  | { readonly kind: 'offer' | 'finish'; readonly worker: number; readonly many: number }
  | { readonly kind: 'crash'; readonly worker: number }
  | { readonly kind: 'wait'; readonly ms: number };

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record({ kind: fc.constantFrom('offer', 'finish'), worker: fc.nat(2), many: fc.nat(6) }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('crash'), worker: fc.nat(2) }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('wait'), ms: fc.nat(60) }) },
  ) as fc.Arbitrary<Step>,
  { minLength: 20, maxLength: 120 },
);

/** A limited queue with more tasks than it may run, and workers that come, end their tasks and die. */
class Floor {
  readonly starts: number[] = [];
  most = 0;
  #now = 1_000;
  readonly #workers = ['a1', 'b1', 'c1'];
  readonly #ledger = new Ledger(RETENTION, 0, EVENTS);
  readonly #lying: Offer[] = [];
  readonly #running = new Map<
    string,
    { readonly worker: string; readonly token: number; readonly offer: Offer }
  >();

  constructor(limits: QueueLimits) {
    this.#say({ op: 'limits', queue: 'q', limits });
    const tasks = Array.from({ length: 400 }, (_, n) => ({
      id: `t${n}`,
      queue: 'q',
      priority: 1 as const,
      delayMs: 0,
      blob: '[1,"x",0,0]',
    }));
    for (const { id, generation, priority, blob } of this.#say({ op: 'admit', tasks }).tickets)
      this.#lying.push({ id, generation, priority, blob, redelivered: false, attempts: 0, stalls: 0 });
  }

  take(step: Step): void {
    if (step.kind === 'wait') this.#now += step.ms;
    else {
      const worker = this.#workers[step.worker] ?? '';
      if (step.kind === 'offer') this.#offer(worker, step.many);
      else if (step.kind === 'finish') this.#finish(worker, step.many);
      else this.#crash(step.worker);
    }
  }

  #offer(worker: string, many: number): void {
    const offers = this.#lying.splice(0, many);
    const reply = this.#say({ op: 'turn', queue: 'q', worker, settlements: [], offers });
    for (const { id, token } of reply.claims) {
      const offer = offers.find((one) => one.id === id);
      if (offer !== undefined) this.#running.set(id, { worker, token, offer });
      this.starts.push(this.#now);
    }
    const later = new Set(reply.later);
    this.#lying.unshift(...offers.filter(({ id }) => later.has(id)));
    this.most = Math.max(this.most, this.#running.size);
  }

  #finish(worker: string, many: number): void {
    const held = [...this.#running].filter(([, run]) => run.worker === worker).slice(0, many);
    const settlements = held.map(([id, { token }]) => ({
      id,
      token,
      priority: 1 as const,
      repeated: false,
      outcome: { kind: 'completed', result: '1', keepMs: 0 } as const,
    }));
    this.#say({ op: 'turn', queue: 'q', worker, settlements, offers: [] });
    for (const [id] of held) this.#running.delete(id);
  }

  /** The broker gives to others what it held; who comes in its place is another one. */
  #crash(index: number): void {
    const worker = this.#workers[index] ?? '';
    this.#workers[index] = `${worker}1`;
    for (const [id, run] of this.#running) {
      if (run.worker !== worker) continue;
      this.#running.delete(id);
      this.#lying.unshift({ ...run.offer, redelivered: true });
    }
  }

  #say(command: Command): Reply {
    return this.#ledger.apply(command, this.#now);
  }
}

describe('the limits of a queue on RabbitMQ', () => {
  it('hold for every start, those of tasks whose worker was lost too', () => {
    const limits = fc.record({
      concurrency: fc.option(fc.integer({ min: 1, max: 6 }), { nil: undefined }),
      rate: fc.record({ limit: fc.integer({ min: 1, max: 6 }), per: fc.integer({ min: 20, max: 200 }) }),
    });
    fc.assert(
      fc.property(limits, steps, ({ concurrency, rate }, taken) => {
        const floor = new Floor({ concurrency, rate });
        for (const step of taken) floor.take(step);
        expect(floor.most).toBeLessThanOrEqual(concurrency ?? Infinity);
        const { starts } = floor;
        for (let from = 0; from < starts.length; from += 1) {
          for (let to = from; to < starts.length; to += 1) {
            const span = (starts[to] ?? 0) - (starts[from] ?? 0);
            expect(to - from + 1).toBeLessThanOrEqual(rate.limit + (rate.limit * span) / rate.per + 1e-6);
          }
        }
      }),
      { numRuns: 300 },
    );
  });
});
