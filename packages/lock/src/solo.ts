import type { Waiting } from './attempt.ts';
import type { HoldMode, HoldRequest } from './backend.ts';
import type { LockEngine } from './engine.ts';
import type { Hold } from './hold.ts';
import { Part } from './part.ts';
import { RemoteRequest } from './remote-request.ts';

/** A hold of its own: shared, strictly fair, prioritised, one of several keys, or permits. */
export class Solo extends Part {
  readonly hold: Hold;
  readonly #engine: LockEngine;
  #released = false;

  constructor(engine: LockEngine, hold: Hold) {
    super(hold.resource);
    this.#engine = engine;
    this.hold = hold;
    hold.onLost = (error) => {
      engine.deleteSolo(this);
      this.onLost(error);
    };
    engine.addSolo(this);
  }

  get token(): number {
    return this.hold.token;
  }

  remaining(): number {
    return this.#released ? 0 : this.hold.remaining();
  }

  release(): Promise<boolean> {
    if (this.#released) return Promise.resolve(false);
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
  const { config, patient } = waiting.attempt;
  const plain = engine.requestFor(waiting.resource, config, mode, 1);
  const request: HoldRequest = permits === undefined ? plain : { ...plain, ...permits };
  const remote = new RemoteRequest(
    engine,
    request,
    { queue: patient, fresh: true },
    {
      onGranted: (grant) => {
        const hold = engine.adopt(request, grant);
        engine.begin(hold, config);
        const part = new Solo(engine, hold);
        if (!waiting.grant(part))
          engine.background(() => part.release(), 'release a lock that came too late');
      },
      onBusy: () => waiting.refuse(),
      onFailed: (error) => waiting.fail(error),
      // Permits are given back by any of many holders, so waiting for them is no deadlock.
      onQueued: () => {
        if (mode !== 'permits') engine.blocked(waiting);
      },
    },
  );
  waiting.leave = () => engine.background(() => remote.cancel(), 'leave the queue of a lock');
  waiting.blockers = () => engine.holdersOf(waiting.resource);
  waiting.place = () => ({ position: remote.position });
  remote.start();
}
