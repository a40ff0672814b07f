import type { Attempt, Waiting } from '../attempt.ts';
import type { LockBackend, Resource, WaitEdge } from '../backend.ts';
import { processOf } from '../backend.ts';
import type { LockEngine } from '../engine.ts';
import { DeadlockError } from '../errors.ts';
import { findLocalCycle } from './local-cycle.ts';
import { decodeCycle, encodeCycle, findCycle, sameCycle, victimOf, type CycleEdge } from './remote-cycle.ts';

/**
 * Finds waits that could never end.
 *
 * Inside the process at once, on every new wait. Across processes, after a wait has lasted `deadlockTimeout`: the waiter
 * writes "whoever has this waits for that" beside every lock it holds, follows such edges from the lock it waits for,
 * and comes back to itself if there is a cycle. The last one of a cycle to write its edges sees all of it, so none is
 * missed. A cycle counts only if a second look finds the same holds and the same attempts, so all of it stood at one
 * moment and none is imagined. The victim is a function of the cycle alone, so everybody who finds it picks the same.
 */
export class DeadlockDetector {
  readonly #engine: LockEngine;
  readonly #backend: LockBackend;
  readonly #timeout: number;
  readonly #suspects = new Map<string, Suspect>();

  constructor(engine: LockEngine) {
    this.#engine = engine;
    this.#backend = engine.backend;
    this.#timeout = engine.options.deadlockTimeout;
  }

  /** `waiting` has to wait. Called again whenever it looks again. */
  blocked(waiting: Waiting): void {
    const { attempt } = waiting;
    if (attempt.held.length === 0 || waiting.done) return;
    for (const part of attempt.held) (part.waits ??= new Set()).add(waiting);
    const cycle = findLocalCycle(waiting, this.#engine.processId);
    if (cycle !== undefined) {
      waiting.fail(new DeadlockError(cycle));
      return;
    }
    this.#suspect(waiting);
  }

  /** Somebody found a cycle and this attempt is its victim. */
  onVictim(attemptId: string, cycle: string): void {
    const suspect = this.#suspects.get(attemptId);
    if (suspect !== undefined) suspect.waiting.fail(new DeadlockError(decodeCycle(cycle)));
  }

  /** The attempt has ended: its edges go before its caller may go on, so that no cycle is seen where there is none. */
  async withdraw(attempt: Attempt): Promise<void> {
    const suspect = this.#suspects.get(attempt.id);
    suspect?.stop();
    this.#suspects.delete(attempt.id);
    if (suspect?.wrote !== true) return;
    const removals = attempt.held.map(({ hold }) =>
      this.#engine.bounded.run(
        () => this.#backend.removeEdge(hold.resource, attempt.id),
        'removal of an edge',
      ),
    );
    // One that stays is harmless: its hold will be gone, or the attempt unknown to its process.
    await Promise.allSettled(removals);
  }

  #suspect(waiting: Waiting): void {
    const { attempt } = waiting;
    const known = this.#suspects.get(attempt.id);
    if (known !== undefined) {
      known.waiting = waiting;
      return;
    }
    attempt.suspected = true;
    const check = (): Promise<void> => this.#check(suspect);
    const suspect = new Suspect(this.#engine, waiting, this.#timeout, check);
    this.#suspects.set(attempt.id, suspect);
  }

  async #check(suspect: Suspect): Promise<void> {
    const { waiting } = suspect;
    const { attempt } = waiting;
    if (waiting.done) return;
    const edges = attempt.held.map((part) => ({
      resource: part.hold.resource,
      edge: this.#edge(suspect, part.hold.holdId),
    }));
    suspect.wrote = true;
    await Promise.all(edges.map(({ resource, edge }) => this.#backend.addEdge(resource, edge)));
    const mine = new Map(edges.map(({ edge }) => [edge.holdId, edge]));
    const first = await this.#look(waiting.resource, mine);
    if (first === undefined) return;
    const second = await this.#look(waiting.resource, mine);
    if (second === undefined || !sameCycle(first, second) || waiting.done) return;
    await this.#sacrifice(victimOf(second), second);
  }

  #look(resource: Resource, mine: ReadonlyMap<string, WaitEdge>): Promise<readonly CycleEdge[] | undefined> {
    const read = (key: string): ReturnType<LockBackend['readEdges']> =>
      this.#backend.readEdges({ kind: 'lock', key });
    return findCycle(resource.key, mine, read);
  }

  async #sacrifice(victim: CycleEdge, cycle: readonly CycleEdge[]): Promise<void> {
    const encoded = encodeCycle(cycle);
    const process = processOf(victim.edge.attempt);
    if (process === this.#engine.processId) this.onVictim(victim.edge.attempt, encoded);
    else await this.#backend.tellVictim(process, victim.edge.attempt, encoded);
  }

  #edge({ waiting }: Suspect, holdId: string): WaitEdge {
    const { attempt, resource } = waiting;
    return {
      attempt: attempt.id,
      holdId,
      waitsFor: resource.key,
      since: attempt.since,
      priority: attempt.config.priority,
      owner: attempt.config.owner || this.#engine.processId,
    };
  }
}

/** A wait that has lasted, or may come to last, long enough to ask others about it; looked at again and again. */
class Suspect {
  waiting: Waiting;
  /** Whether its edges can stand at the backend. */
  wrote = false;
  readonly #engine: LockEngine;
  #timer: ReturnType<LockEngine['leases']['after']>;
  #stopped = false;

  constructor(engine: LockEngine, waiting: Waiting, timeout: number, check: () => Promise<void>) {
    this.#engine = engine;
    this.waiting = waiting;
    const again = async (): Promise<void> => {
      try {
        await check();
      } finally {
        if (!this.#stopped) this.#timer = engine.leases.after(timeout, look);
      }
    };
    const look = (): void => engine.background(again, 'look for a deadlock');
    this.#timer = engine.leases.after(timeout, look);
  }

  stop(): void {
    this.#stopped = true;
    this.#engine.leases.cancel(this.#timer);
  }
}
