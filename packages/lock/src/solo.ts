import type { Waiting, WaitHost } from './attempt.ts';
import type { Grant, HoldMode, HoldRequest } from './backend.ts';
import type { LockEngine } from './engine.ts';
import type { LockLostError } from './errors.ts';
import type { Hold, HoldUser } from './hold.ts';
import { Part } from './part.ts';
import type { Release } from './release.ts';
import { RemoteRequest, type RequestUser } from './remote-request.ts';

/** A hold of its own: shared, strictly fair, prioritised, one of several keys, or permits. */
export class Solo extends Part implements HoldUser {
  readonly hold: Hold;
  readonly #engine: LockEngine;
  #released = false;

  constructor(engine: LockEngine, hold: Hold) {
    super(hold.resource);
    this.#engine = engine;
    this.hold = hold;
    hold.user = this;
    engine.addSolo(this);
  }

  get token(): number {
    return this.hold.token;
  }

  remaining(): number {
    return this.#released ? 0 : this.hold.remaining();
  }

  release(): Promise<boolean> {
    return this.#end()?.result() ?? Promise.resolve(false);
  }

  releaseQuietly(): void {
    this.#end();
  }

  onLost(error: LockLostError): void {
    this.#engine.deleteSolo(this);
    this.user?.onLost(error);
  }

  onContended(): void {}

  #end(): Release | undefined {
    if (this.#released) return undefined;
    this.#released = true;
    this.#engine.deleteSolo(this);
    return this.#engine.giveUp(this.hold);
  }
}

/** How many permits, of how many. */
export interface Permits {
  readonly weight: number;
  readonly limit: number;
}

/** Asks the backend for a hold of its own. */
export function askAlone(engine: LockEngine, waiting: Waiting, mode: HoldMode, permits?: Permits): void {
  const plain = engine.requestFor(waiting.resource, waiting.attempt.config, mode, 1);
  new SoloRequest(engine, waiting, permits === undefined ? plain : { ...plain, ...permits }).start();
}

/** One wait that asks for itself. */
class SoloRequest implements RequestUser, WaitHost {
  readonly #engine: LockEngine;
  readonly #waiting: Waiting;
  readonly #remote: RemoteRequest;

  constructor(engine: LockEngine, waiting: Waiting, request: HoldRequest) {
    this.#engine = engine;
    this.#waiting = waiting;
    this.#remote = new RemoteRequest(engine, request, { queue: waiting.attempt.patient, fresh: true }, this);
    waiting.host = this;
  }

  start(): void {
    this.#remote.start();
  }

  onGranted({ request }: RemoteRequest, grant: Grant): void {
    const hold = this.#engine.adopt(request, grant);
    this.#engine.begin(hold, this.#waiting.attempt.config);
    const part = new Solo(this.#engine, hold);
    if (!this.#waiting.grant(part))
      this.#engine.background(() => part.release(), 'release a lock that came too late');
  }

  onBusy(): void {
    this.#waiting.refuse();
  }

  onFailed(_request: RemoteRequest, error: unknown): void {
    this.#waiting.fail(error);
  }

  onQueued({ request }: RemoteRequest): void {
    // Permits are given back by any of many holders, so waiting for them is no deadlock.
    if (request.mode !== 'permits') this.#engine.blocked(this.#waiting);
  }

  blockersOf({ resource }: Waiting): Iterable<Part> {
    return this.#engine.holdersOf(resource);
  }

  positionOf(): number {
    return this.#remote.position;
  }

  onLeft(): void {
    this.#engine.background(() => this.#remote.cancel(), 'leave the queue of a lock');
  }
}
