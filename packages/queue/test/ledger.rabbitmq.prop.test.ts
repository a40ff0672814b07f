import { describe, expect, it } from 'vitest';
import type { NewTask, Settlement } from '../src/backend.ts';
import type { Command, Offer, Reply, Ticket } from '../src/rabbitmq/ledger-commands.ts';
import { loadLedger, saveLedger } from '../src/rabbitmq/ledger-snapshot.ts';
import { Ledger } from '../src/rabbitmq/ledger.ts';

const RETENTION = { finished: 200, dead: 200, deadAgeMs: 1e9 };
const EVENTS = {
  finished: () => {},
  scheduleChanged: () => {},
  cancelRequested: () => {},
  superseded: () => {},
  woken: () => {},
};

/** A repeatable source of numbers (mulberry32). */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

interface Message {
  readonly ticket: Ticket;
  redelivered: boolean;
}

/** A ledger, a second one that hears the same, and a broker that loses, doubles and returns messages as a real one may. */
class World {
  readonly ledger = new Ledger(RETENTION, 5, EVENTS);
  replica = new Ledger(RETENTION, 5, EVENTS);
  readonly random: () => number;
  messages: Message[] = [];
  readonly running = new Map<string, { token: number; message: Message; worker: string }>();
  now = 1_000;
  made = 0;
  /** Nothing goes wrong any more, and everything is worked off. */
  draining = false;

  constructor(seed: number) {
    this.random = seeded(seed);
  }

  pick<T>(items: readonly T[]): T | undefined {
    return items[Math.floor(this.random() * items.length)];
  }

  say(command: Command): Reply {
    const text = JSON.stringify(command);
    const reply = this.ledger.apply(JSON.parse(text) as Command, this.now);
    this.replica.apply(JSON.parse(text) as Command, this.now);
    const lostByCrash = this.random() < 0.1;
    for (const ticket of reply.tickets) {
      // Who was to publish it died, after or before; the debt stays.
      if (lostByCrash && this.random() < 0.5) continue;
      this.messages.push({ ticket, redelivered: false });
      if (this.random() < 0.05) this.messages.push({ ticket, redelivered: false });
      if (!lostByCrash) this.say({ op: 'sent', messages: [[ticket.id, ticket.generation]] });
    }
    return reply;
  }

  task(extra: Partial<NewTask> = {}): NewTask {
    this.made += 1;
    const priority = this.pick([0, 1, 2] as const) ?? 1;
    return { id: `t${this.made}`, queue: 'q', priority, delayMs: 0, blob: '[1,"x",0,0]', ...extra };
  }

  admit(): void {
    const kind = this.random();
    if (kind < 0.15) {
      const children = [this.task({ parent: { id: `t${this.made + 3}`, onFailure: 'fail' } }), this.task()];
      const parent = this.task({ children: [children[0]?.id ?? ''] });
      this.say({ op: 'admit', tasks: [parent, ...children] });
      return;
    }
    const group = kind < 0.45 ? { key: this.pick(['a', 'b']) ?? 'a', concurrency: 1 } : undefined;
    const mode = this.pick(['reject', 'replace', 'throttle'] as const) ?? 'reject';
    const unique = kind > 0.8 ? { key: this.pick(['u', 'v']) ?? 'u', mode, forMs: 20 } : undefined;
    const delayMs = this.random() < 0.3 ? 50 : 0;
    this.say({ op: 'admit', tasks: [this.task({ group, unique, delayMs })] });
  }

  turn(worker: string): void {
    const due = this.messages.filter(
      ({ ticket }) => ticket.dueAt <= this.now && !this.running.has(ticket.id),
    );
    const chosen = new Map<string, Message>();
    for (let n = 0; n < (this.draining ? due.length : 3); n += 1) {
      const message = this.draining ? due[n] : this.pick(due);
      if (message !== undefined && !chosen.has(message.ticket.id)) chosen.set(message.ticket.id, message);
    }
    const settlements = this.settlements(worker);
    const offers = [...chosen.values()].map((message) => offerOf(message));
    const reply = this.say({ op: 'turn', queue: 'q', worker, settlements, offers });
    for (const { id, token } of settlements) {
      const run = this.running.get(id);
      if (run?.token !== token) continue;
      this.running.delete(id);
      this.messages = this.messages.filter((message) => message !== run.message);
    }
    for (const id of reply.dropped)
      this.messages = this.messages.filter((message) => message !== chosen.get(id));
    for (const { id, token } of reply.claims) {
      const message = chosen.get(id);
      if (message !== undefined) this.running.set(id, { token, message, worker });
    }
  }

  settlements(worker: string): Settlement[] {
    return [...this.running]
      .filter(([, run]) => run.worker === worker && this.random() < 0.6)
      .map(([id, { token }]) => ({ id, token, priority: 1, repeated: false, outcome: this.outcome() }));
  }

  outcome(): Settlement['outcome'] {
    const kind = this.draining ? 0 : this.random();
    if (kind < 0.6) return { kind: 'completed', result: '1', keepMs: 1_000 };
    if (kind < 0.85)
      return { kind: 'retry', delayMs: this.random() < 0.5 ? 0 : 30, counted: true, error: '{}' };
    return { kind: 'dead', error: '{"reason":"NON_RETRYABLE"}', keepMs: 0, counted: true };
  }

  /** A worker dies: the broker has all that it held again. */
  crash(worker: string): void {
    for (const [id, run] of this.running) {
      if (run.worker !== worker) continue;
      run.message.redelivered = true;
      this.running.delete(id);
    }
  }

  step(): void {
    this.now += Math.floor(this.random() * 20);
    const kind = this.random();
    if (kind < 0.3) this.admit();
    else if (kind < 0.75) this.turn(this.pick(['w1', 'w2']) ?? 'w1');
    else if (kind < 0.8) this.crash(this.pick(['w1', 'w2']) ?? 'w1');
    else this.control();
  }

  control(): void {
    const ids = [...this.ledger.tables.records.keys()];
    const id = this.pick(ids) ?? 'nobody';
    const token = this.ledger.tables.records.get(id)?.token ?? 0;
    const commands: readonly Command[] = [
      { op: 'cancel', id, reason: 'r' },
      { op: 'revive', ids: [id] },
      { op: 'purge', ids: [id] },
      { op: 'note', notes: [{ id, queue: 'q', token, progress: '1', lines: ['a', 'b'] }] },
      { op: 'relay', olderThan: 0 },
      { op: 'sweep' },
      { op: 'limits', queue: 'q', limits: { concurrency: this.random() < 0.5 ? 2 : undefined } },
      { op: 'announce', worker: 'w1', queues: ['q'], slots: 2, forMs: 1_000 },
      { op: 'look' },
    ];
    const command = this.pick(commands);
    if (command !== undefined) this.say(command);
  }

  /** Every task that lives is somewhere from where it goes on. */
  check(): void {
    const { tables } = this.ledger;
    const current = new Set(this.messages.map(({ ticket }) => `${ticket.id} ${ticket.generation}`));
    for (const record of tables.records.values()) {
      const open = record.state === 'waiting' || record.state === 'delayed' || record.state === 'active';
      if (!open || record.held) continue;
      const reachable = record.owedSince > 0 || current.has(`${record.id} ${record.generation}`);
      if (!reachable) throw new Error(`lost: ${JSON.stringify(record)}`);
    }
  }
}

function offerOf({ ticket, redelivered }: Message): Offer {
  const { id, generation, priority, attempts, stalls, blob } = ticket;
  return { id, generation, priority, redelivered, attempts, stalls, blob };
}

describe('the ledger', () => {
  it.each(Array.from({ length: 24 }, (_, seed) => seed))(
    'loses no task, and a copy of it agrees in everything (seed %i)',
    (seed) => {
      const world = new World(seed);
      for (let part = 0; part < 4; part += 1) {
        for (let step = 0; step < 100; step += 1) {
          world.step();
          world.check();
        }
        expect(JSON.parse(saveLedger(world.replica, []))).toEqual(JSON.parse(saveLedger(world.ledger, [])));
        // From here on the copy is one that was read from a snapshot.
        world.replica = new Ledger(RETENTION, 5, EVENTS);
        loadLedger(world.replica, saveLedger(world.ledger, []));
      }
      world.draining = true;
      world.say({ op: 'limits', queue: 'q', limits: {} });
      for (let round = 0; round < 1_500; round += 1) {
        world.now += 20;
        world.turn(round % 2 === 0 ? 'w1' : 'w2');
        if (round % 10 === 0) world.say({ op: 'relay', olderThan: 0 });
      }
      const open = [...world.ledger.tables.records.values()].filter(({ state }) =>
        ['waiting', 'delayed', 'active'].includes(state),
      );
      expect(open).toEqual([]);
    },
  );
});
