import { sleep, TransientMap, type Background, type Clock, type Timer } from '@xiaoke/core';
import type { Session, SessionListener, Settlement, TurnReply, TurnRequest } from '../backend.ts';
import { QueueError } from '../errors.ts';
import type { Offer, Reply } from './ledger-commands.ts';
import type { LedgerClient } from './ledger-client.ts';
import type { Delivery } from './list-consumer.ts';
import type { QueueConsumer } from './queue-consumer.ts';

/** What a session is made of. */
export interface RabbitMqSessionOptions {
  readonly worker: string;
  readonly slots: number;
  readonly queues: readonly string[];
  readonly ledger: LedgerClient;
  readonly clock: Clock;
  readonly background: Background;
  readonly listener: SessionListener;
  readonly consume: (queue: string, arrived: () => void, troubled: (error: unknown) => void) => QueueConsumer;
  /** Publishes what a reply owes the broker; resolves when it is confirmed. */
  readonly deliver: (reply: Reply) => Promise<void>;
  readonly stalled: (id: string, queue: string) => void;
  readonly closed: (session: RabbitMqSession) => void;
}

interface Running {
  readonly token: number;
  readonly delivery: Delivery;
}

const ANNOUNCE_EVERY = 20_000;
const ANNOUNCED_FOR = 60_000;
/** Other processes do not tell when a limit has room again, if the ledger is not shared. */
const LOOK_AGAIN = 50;

/** A worker pool's place at the broker: its consumers, what it holds, and what it tells the ledger. */
export class RabbitMqSession implements Session {
  readonly partition = 0;
  readonly worker: string;
  readonly listener: SessionListener;
  readonly #options: RabbitMqSessionOptions;
  readonly #consumers: ReadonlyMap<string, QueueConsumer>;
  readonly #running = new TransientMap<string, Running>();
  readonly #woken = new Set<string>();
  readonly #alarms = new Map<string, { readonly at: number; readonly timer: Timer }>();
  #waiting: { queues: readonly string[]; finish: (queues: readonly string[]) => void } | undefined;
  #slots: number;
  #announcedAt = -Infinity;
  #troubled = false;
  #closed = false;

  constructor(options: RabbitMqSessionOptions) {
    this.#options = options;
    this.worker = options.worker;
    this.#slots = options.slots;
    this.listener = options.listener;
    const troubled = (error: unknown): void => this.#trouble(error);
    this.#consumers = new Map(
      options.queues.map((queue) => [queue, options.consume(queue, () => this.#arrived(queue), troubled)]),
    );
    for (const queue of options.queues) this.#followPause(queue);
    options.background.run(() => this.#announce(), 'announce a worker');
  }

  async turn(queue: string, request: TurnRequest): Promise<TurnReply> {
    const consumer = this.#consumers.get(queue);
    if (this.#closed || consumer === undefined)
      throw new QueueError('WORKER_CLOSING', 'The session is closed');
    const { want, quotas, settlements } = request;
    // With the ledger at hand, what is done is let go before others are taken: the broker may send that many more meanwhile.
    const settled = this.#settleNow(queue, settlements);
    if (settled !== undefined) await this.#conclude(consumer, settled, settlements);
    await nextTurn();
    const offered = want > 0 ? await consumer.take(want, quotas, (offer) => this.#fits(offer)) : [];
    const reply = await this.#asked(queue, settled === undefined ? settlements : [], offered);
    this.#troubled = false;
    for (const id of reply.stalled) this.#options.stalled(id, queue);
    this.#sortOut(consumer, offered, reply);
    await this.#conclude(consumer, reply, settled === undefined ? settlements : []);
    let nextMs = soonest(reply.nextMs, consumer.nextMs());
    if (reply.later.length > 0 && !this.#options.ledger.shared) nextMs = soonest(nextMs, LOOK_AGAIN);
    return { now: reply.now, lost: settled?.lost ?? reply.lost, claims: reply.claims, nextMs };
  }

  wait(queues: readonly string[], timeoutMs: number): Promise<readonly string[]> {
    const fits = (offer: Offer): boolean => this.#fits(offer);
    const ready = queues.filter((queue) => {
      if (!this.#woken.delete(queue)) return this.#consumers.get(queue)?.ready(fits) === true;
      // It may have been refused after the word came that it would not be.
      this.#unblock(queue);
      return true;
    });
    if (ready.length > 0 || this.#closed) return Promise.resolve(ready);
    for (const queue of queues) this.#alarm(queue, this.#consumers.get(queue)?.nextMs());
    return new Promise((resolve) => {
      const timer: Timer = this.#options.clock.setTimeout(() => {
        for (const queue of queues) this.#unblock(queue);
        this.#finishWait(queues);
      }, timeoutMs);
      timer.unref();
      this.#waiting = {
        queues,
        finish: (result) => {
          timer.cancel();
          resolve(result);
        },
      };
    });
  }

  passOn(): void {
    // The broker has given the message to this session; another one gets others.
  }

  /** The ledger hands out again what it refused. */
  wake(queue: string): void {
    if (!this.#consumers.has(queue)) return;
    this.#followPause(queue);
    this.#unblock(queue);
    this.#woken.add(queue);
    this.#arrived(queue);
  }

  async beat(): Promise<void> {
    if (this.#closed) return;
    for (const consumer of this.#consumers.values()) consumer.flush();
    this.#checkHeld();
    if (this.#options.clock.monotonic() - this.#announcedAt > ANNOUNCE_EVERY) await this.#announce();
  }

  /** The task runs elsewhere now; its other message is not needed any more. */
  superseded(id: string, token: number): void {
    const running = this.#running.get(id);
    if (running?.token !== token) return;
    this.#running.delete(id);
    running.delivery.list.done(running.delivery);
    this.listener.onLost([id]);
  }

  interrupt(): void {
    this.#finishWait([]);
  }

  async close(timeoutMs: number): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const { timer } of this.#alarms.values()) timer.cancel();
    this.interrupt();
    const { clock, ledger } = this.#options;
    const deadline = clock.monotonic() + timeoutMs;
    try {
      await this.#giveBack(timeoutMs * 0.6);
      await ledger.run(
        { op: 'announce', worker: this.worker, queues: this.#options.queues, slots: 0, forMs: 0 },
        Math.max(1, (deadline - clock.monotonic()) / 2),
      );
    } catch {
      // With the ledger away, what is held comes back as soon as the broker sees the channels gone.
    }
    const left = Math.max(1, deadline - clock.monotonic());
    await Promise.all([...this.#consumers.values()].map((consumer) => consumer.close(left)));
    this.#running.clear();
    this.#options.closed(this);
  }

  async #giveBack(timeoutMs: number): Promise<void> {
    for (const queue of this.#options.queues) {
      const held = this.listener.held().filter((claim) => claim.queue === queue);
      if (held.length === 0) continue;
      const settlements = held.map(
        ({ id, token }) =>
          ({ id, token, priority: 1, repeated: false, outcome: { kind: 'return' } }) as const,
      );
      const turn = { op: 'turn', queue, worker: this.worker, settlements, offers: [] } as const;
      await this.#options.ledger.run(turn, timeoutMs);
    }
  }

  #settleNow(queue: string, settlements: readonly Settlement[]): Reply | undefined {
    if (settlements.length === 0) return undefined;
    return this.#options.ledger.runNow({
      op: 'turn',
      queue,
      worker: this.worker,
      settlements,
      offers: [],
    });
  }

  /** Retries, and tasks that waited for this end, are with the broker before the old messages are let go. */
  async #conclude(consumer: QueueConsumer, reply: Reply, settlements: readonly Settlement[]): Promise<void> {
    if (reply.tickets.length + reply.graves.length > 0) await this.#deliver(reply);
    for (const { id, token, outcome } of settlements) this.#release(id, token, outcome.kind);
    consumer.flush();
  }

  /** An answer that was lost leaves the deliveries here, to be offered again. */
  async #asked(
    queue: string,
    settlements: TurnRequest['settlements'],
    offered: readonly Delivery[],
  ): Promise<Reply> {
    try {
      return await this.#ask(queue, settlements, offered);
    } catch (error) {
      this.#consumers.get(queue)?.putBack(offered);
      throw error;
    }
  }

  /** One command for what is settled and what is offered; a second one for texts that the ledger turned out to need. */
  async #ask(
    queue: string,
    settlements: TurnRequest['settlements'],
    offered: readonly Delivery[],
  ): Promise<Reply> {
    const { ledger } = this.#options;
    if (settlements.length + offered.length === 0) return ledger.ledger.peek(this.#options.clock.now());
    const known = ledger.ledger.tables.records;
    const offers = offered.map(({ offer }) =>
      ledger.shared && known.has(offer.id) ? { ...offer, blob: undefined } : offer,
    );
    const shared = { op: 'turn', queue, worker: this.worker } as const;
    const reply = await ledger.run({
      ...shared,
      settlements: ledger.shared ? settlements.map(withoutLinks) : settlements,
      offers,
    });
    if (reply.unknown.length === 0) return reply;
    const again = offered.filter(({ offer }) => reply.unknown.includes(offer.id)).map(({ offer }) => offer);
    const more = await ledger.run({ ...shared, settlements: [], offers: again });
    return {
      ...reply,
      claims: [...reply.claims, ...more.claims],
      dropped: [...reply.dropped, ...more.dropped],
      stalled: [...reply.stalled, ...more.stalled],
      later: [...reply.later, ...more.later],
      tickets: [...reply.tickets, ...more.tickets],
      graves: [...reply.graves, ...more.graves],
    };
  }

  #sortOut(consumer: QueueConsumer, offered: readonly Delivery[], reply: Reply): void {
    if (offered.length === 0) return;
    const tokens = new Map<string, number>();
    for (const { id, token } of reply.claims) tokens.set(id, token);
    const later = new Set(reply.later);
    const refused: Delivery[] = [];
    for (const delivery of offered) {
      const { id } = delivery.offer;
      const token = tokens.get(id);
      if (token !== undefined) this.#running.set(id, { token, delivery });
      else if (later.has(id)) refused.push(delivery);
      else delivery.list.done(delivery);
    }
    if (refused.length === 0) return;
    consumer.putBack(refused);
    consumer.blocked = true;
  }

  async #deliver(reply: Reply): Promise<void> {
    for (let tries = 0; ; tries += 1) {
      try {
        await this.#options.deliver(reply);
        return;
      } catch (error) {
        if (this.#closed) throw error;
        this.#trouble(error);
        await sleep(Math.min(50 * 2 ** tries, 1_000), { clock: this.#options.clock, ref: false });
      }
    }
  }

  #release(id: string, token: number, kind: string): void {
    const running = this.#running.get(id);
    if (running?.token !== token) return;
    this.#running.delete(id);
    if (kind === 'return') running.delivery.list.giveBack(running.delivery);
    else running.delivery.list.done(running.delivery);
  }

  // A task that still runs here is not started a second time, though the broker has sent it again.
  #fits(offer: Offer): boolean {
    return !this.#running.has(offer.id);
  }

  /** What the ledger said while nobody listened. */
  #checkHeld(): void {
    const { records } = this.#options.ledger.ledger.tables;
    const lost: string[] = [];
    for (const { id, token } of this.listener.held()) {
      const record = records.get(id);
      if (record?.state === 'active' && record.token === token) {
        if (record.cancelReason !== undefined) this.listener.onCancel(id, reasonOf(record.cancelReason));
      } else if (this.#running.get(id)?.token === token && record !== undefined && record.token > token) {
        lost.push(id);
      }
    }
    if (lost.length > 0) this.listener.onLost(lost);
  }

  resize(slots: number): void {
    this.#slots = slots;
    for (const consumer of this.#consumers.values()) consumer.resize(slots);
    this.#options.background.run(() => this.#announce(), 'announce a worker');
  }

  async #announce(): Promise<void> {
    const { ledger, queues, clock } = this.#options;
    const slots = this.#slots;
    this.#announcedAt = clock.monotonic();
    await ledger.run({ op: 'announce', worker: this.worker, queues, slots, forMs: ANNOUNCED_FOR });
  }

  #followPause(queue: string): void {
    const { tables } = this.#options.ledger.ledger;
    const consumer = this.#consumers.get(queue);
    if (consumer !== undefined)
      consumer.paused = tables.allPaused || tables.queues.get(queue)?.paused === true;
  }

  #unblock(queue: string): void {
    const consumer = this.#consumers.get(queue);
    if (consumer !== undefined) consumer.blocked = false;
  }

  #arrived(queue: string): void {
    if (this.#waiting?.queues.includes(queue) !== true) return;
    const consumer = this.#consumers.get(queue);
    const ready = consumer?.ready((offer) => this.#fits(offer)) === true;
    // A word of the ledger stays until a wait begins with it: the lane may be in a turn that was refused before it came.
    if (ready || this.#woken.has(queue)) this.#finishWait([queue]);
    else this.#alarm(queue, consumer?.nextMs());
  }

  /** Looks again when something that is here becomes due. */
  #alarm(queue: string, nextMs: number | undefined): void {
    if (nextMs === undefined) return;
    const { clock } = this.#options;
    const at = clock.monotonic() + nextMs;
    const known = this.#alarms.get(queue);
    if (known !== undefined && known.at <= at) return;
    known?.timer.cancel();
    const ring = (): void => {
      this.#alarms.delete(queue);
      this.#arrived(queue);
    };
    this.#alarms.set(queue, { at, timer: clock.setTimeout(ring, nextMs).unref() });
  }

  #finishWait(queues: readonly string[]): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.finish(queues);
  }

  // One outage is one error, however many channels it takes.
  #trouble(error: unknown): void {
    if (this.#troubled || this.#closed) return;
    this.#troubled = true;
    this.listener.onError(error);
  }
}

/** The ledger knows what a task is linked to. */
function withoutLinks({ links: _links, ...settlement }: Settlement): Settlement {
  return settlement;
}

/** A turn of the event loop: endless work must not keep sockets and timers from being served. */
function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

function reasonOf(error: string): string {
  const { reason } = JSON.parse(error) as { reason?: string };
  return reason ?? 'cancelled';
}

function soonest(a: number | undefined, b: number | undefined): number | undefined {
  if (a === undefined) return b;
  return b === undefined ? a : Math.min(a, b);
}
