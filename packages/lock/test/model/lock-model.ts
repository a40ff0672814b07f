import assert from 'node:assert/strict';
import { eventually } from '@xiaoke/core/testing';
import fc from 'fast-check';
import type { Lock, LockInspection, LockManager } from '../../src/index.ts';

/** A wish: a reader, a writer, or a number of permits. */
export type Want = 'shared' | 'exclusive' | number;

/** How many permits the semaphore of the model has. */
const LIMIT = 4;

/** What should be true: who has it, and who stands in line. */
export interface Model {
  holders: Map<number, Want>;
  queue: { readonly id: number; readonly want: Want }[];
  next: number;
}

interface Request {
  readonly controller: AbortController;
  state: 'waiting' | 'held' | 'refused' | 'over';
  lock: Lock | undefined;
}

/** What is tried against the model. */
export interface Real {
  readonly managers: readonly LockManager[];
  readonly kind: 'lock' | 'semaphore';
  readonly key: string;
  readonly requests: Map<number, Request>;
  lastExclusiveToken: number;
  /** A fault of the backend that loses messages, where there is one. */
  disturb(): Promise<void>;
}

const byName = (a: unknown, b: unknown): number => String(a).localeCompare(String(b));

type Command = fc.AsyncCommand<Model, Real>;

function fits({ holders }: Model, want: Want): boolean {
  const held = [...holders.values()];
  if (typeof want === 'number') return held.reduce<number>((sum, each) => sum + Number(each), want) <= LIMIT;
  return held.length === 0 || (want === 'shared' && held.every((each) => each === 'shared'));
}

/** The head of the line gets it for as long as it fits. */
function pump(model: Model): void {
  for (let head = model.queue[0]; head !== undefined && fits(model, head.want); head = model.queue[0]) {
    model.queue.shift();
    model.holders.set(head.id, head.want);
  }
}

/** Waits until what is real is what should be, and stays so. */
async function settle(model: Model, real: Real): Promise<void> {
  const states = (): string =>
    [...real.requests]
      .filter(([, { state }]) => state === 'waiting' || state === 'held')
      .map(([id, { state }]) => `${id} ${state}`)
      .sort()
      .join();
  const wanted = [...model.holders.keys()]
    .map((id) => `${id} held`)
    .concat(model.queue.map(({ id }) => `${id} waiting`))
    .toSorted(byName)
    .join();
  await eventually(() => states() === wanted, { interval: 1, timeout: 8_000 }).catch(() => {
    assert.equal(states(), wanted);
  });
  const shown = `${[...model.holders.values()].toSorted(byName).join()} / ${model.queue.map(({ id }) => `w${id}`).join()}`;
  await eventually(async () => (await inspect(real)) === shown, { interval: 1 }).catch(async () => {
    assert.equal(await inspect(real), shown, 'what an inspection shows');
  });
}

async function inspect({ managers, key, kind }: Real): Promise<string> {
  const [locks] = managers;
  assert.ok(locks !== undefined);
  if (kind === 'lock') return describe(await locks.inspectLock(key));
  for await (const found of locks.inspectLocks()) if (found.key === key) return describe(found);
  return ' / ';
}

function describe({ holders, waiters }: Pick<LockInspection, 'holders' | 'waiters'>): string {
  const held = holders.map(({ type, permits }) => (type === 'permits' ? permits : type));
  return `${held.toSorted(byName).join()} / ${waiters.map(({ owner }) => owner).join()}`;
}

function ask(real: Real, id: number, want: Want, wait: number): void {
  const request: Request = { controller: new AbortController(), state: 'waiting', lock: undefined };
  real.requests.set(id, request);
  const manager = real.managers[id % real.managers.length];
  assert.ok(manager !== undefined);
  const { signal } = request.controller;
  const config = { signal, wait, owner: `w${id}`, fair: true, ttl: 60_000 };
  const asked =
    typeof want === 'number'
      ? manager.semaphore(real.key, LIMIT).acquire(want, config)
      : manager.acquireLock(real.key, want, config);
  asked.then(
    (lock) => {
      request.state = 'held';
      request.lock = lock;
      lock.signal.addEventListener('abort', () => (request.state = 'over'));
    },
    () => (request.state = wait === 0 ? 'refused' : 'over'),
  );
}

const want = (kind: Real['kind']): fc.Arbitrary<Want> =>
  kind === 'semaphore' ? fc.integer({ min: 1, max: LIMIT }) : fc.constantFrom('shared', 'exclusive');

class Acquire implements Command {
  readonly #want: Want;
  constructor(wanted: Want) {
    this.#want = wanted;
  }
  check = (): boolean => true;
  async run(model: Model, real: Real): Promise<void> {
    const id = (model.next += 1);
    model.queue.push({ id, want: this.#want });
    pump(model);
    ask(real, id, this.#want, 60_000);
    await settle(model, real);
    const lock = real.requests.get(id)?.lock;
    if (this.#want === 'exclusive' && lock !== undefined) {
      assert.ok(lock.fencingToken > real.lastExclusiveToken, 'a token that went back');
      real.lastExclusiveToken = lock.fencingToken;
    }
  }
  toString = (): string => `acquire(${this.#want})`;
}

class Try implements Command {
  readonly #want: Want;
  constructor(wanted: Want) {
    this.#want = wanted;
  }
  check = (): boolean => true;
  async run(model: Model, real: Real): Promise<void> {
    const id = (model.next += 1);
    const free = model.queue.length === 0 && fits(model, this.#want);
    if (free) model.holders.set(id, this.#want);
    ask(real, id, this.#want, 0);
    await eventually(() => real.requests.get(id)?.state !== 'waiting', { interval: 1 });
    assert.equal(real.requests.get(id)?.state, free ? 'held' : 'refused');
    await settle(model, real);
  }
  toString = (): string => `try(${this.#want})`;
}

/** A command on one of those who hold, or wait, chosen by a number. */
abstract class OnOne implements Command {
  readonly #choice: number;
  constructor(choice: number) {
    this.#choice = choice;
  }
  abstract among(model: Model): readonly number[];
  abstract act(model: Model, real: Real, id: number): Promise<void>;
  check(model: Readonly<Model>): boolean {
    return this.among(model).length > 0;
  }
  async run(model: Model, real: Real): Promise<void> {
    const ids = this.among(model);
    await this.act(model, real, ids[this.#choice % ids.length] ?? 0);
    await settle(model, real);
  }
  toString = (): string => `${this.constructor.name}(${this.#choice})`;
}

class Release extends OnOne {
  among = ({ holders }: Model): readonly number[] => [...holders.keys()];
  async act(model: Model, real: Real, id: number): Promise<void> {
    model.holders.delete(id);
    pump(model);
    const request = real.requests.get(id);
    const released = request?.lock?.release();
    if (request !== undefined) request.state = 'over';
    assert.equal(await released, true);
    assert.equal(await request?.lock?.release(), false);
  }
}

class Extend extends OnOne {
  among = ({ holders }: Model): readonly number[] => [...holders.keys()];
  async act(_model: Model, real: Real, id: number): Promise<void> {
    const lock = real.requests.get(id)?.lock;
    await lock?.extend(90_000);
    assert.ok((lock?.remainingMs() ?? 0) > 60_000);
  }
}

class Cancel extends OnOne {
  among = ({ queue }: Model): readonly number[] => queue.map(({ id }) => id);
  async act(model: Model, real: Real, id: number): Promise<void> {
    model.queue = model.queue.filter((waiter) => waiter.id !== id);
    pump(model);
    real.requests.get(id)?.controller.abort();
  }
}

class Downgrade extends OnOne {
  among = ({ holders }: Model): readonly number[] =>
    [...holders].flatMap(([id, held]) => (held === 'exclusive' ? [id] : []));
  async act(model: Model, real: Real, id: number): Promise<void> {
    model.holders.set(id, 'shared');
    pump(model);
    await real.requests.get(id)?.lock?.downgrade();
  }
}

class Upgrade extends OnOne {
  among = ({ holders }: Model): readonly number[] =>
    holders.size === 1 ? [...holders].flatMap(([id, held]) => (held === 'shared' ? [id] : [])) : [];
  async act(model: Model, real: Real, id: number): Promise<void> {
    model.holders.set(id, 'exclusive');
    const lock = real.requests.get(id)?.lock;
    await lock?.upgrade();
    assert.ok((lock?.fencingToken ?? 0) > real.lastExclusiveToken);
    real.lastExclusiveToken = lock?.fencingToken ?? 0;
  }
}

class Force implements Command {
  check = ({ holders }: Readonly<Model>): boolean => holders.size > 0;
  async run(model: Model, real: Real): Promise<void> {
    const held = model.holders.size;
    model.holders.clear();
    pump(model);
    assert.equal(await real.managers[0]?.forceRelease(real.key), held);
    await settle(model, real);
  }
  toString = (): string => 'force';
}

class Disturb implements Command {
  check = (): boolean => true;
  async run(model: Model, real: Real): Promise<void> {
    await real.disturb();
    await settle(model, real);
  }
  toString = (): string => 'disturb';
}

/** Sequences of everything that can be done to one lock, or to one semaphore. */
export function commands(kind: Real['kind']): fc.Arbitrary<Iterable<Command>> {
  const choice = fc.nat(20);
  const all: fc.Arbitrary<Command>[] = [
    want(kind).map((wanted) => new Acquire(wanted)),
    want(kind).map((wanted) => new Acquire(wanted)),
    want(kind).map((wanted) => new Try(wanted)),
    choice.map((index) => new Release(index)),
    choice.map((index) => new Release(index)),
    choice.map((index) => new Cancel(index)),
    choice.map((index) => new Extend(index)),
    fc.constant(new Disturb()),
  ];
  if (kind === 'lock') {
    all.push(
      choice.map((index) => new Downgrade(index)),
      choice.map((index) => new Upgrade(index)),
      fc.constant(new Force()),
    );
  }
  return fc.commands(all, { maxCommands: 40 });
}
