import { XiaokeError } from '@xiaoke/core';
import type { Part } from '../engine/compile.ts';
import type { Operation } from '../engine/context.ts';
import type { Runner } from '../engine/frame.ts';
import { BasePolicy, policyName, type Policy, type PolicyStats } from '../engine/policy.ts';
import { CallScope, type Scope } from '../engine/scope.ts';
import { withoutStack } from '../errors.ts';
import { checkNumber, checkObject } from '../options.ts';

/** Options of {@link collapse}. */
export interface CollapseOptions {
  readonly name?: string | undefined;
  /** Keys in flight at most; calls of further ones run by themselves. @default 10000 */
  readonly maxKeys?: number | undefined;
}

/** What a {@link collapse} saw. */
export interface CollapseStats extends PolicyStats {
  readonly kind: 'collapse';
  readonly calls: number;
  /** Calls that joined one in flight. */
  readonly joined: number;
  readonly inFlight: number;
}

/** A {@link collapse}. */
export interface CollapsePolicy extends Policy {
  readonly kind: 'collapse';
  stats(): CollapseStats;
}

/**
 * Calls with the same `key` that overlap run once and share the result (single flight). Each caller can leave by its own
 * signal; when the last one leaves, the operation is given up. Calls without a key run by themselves.
 *
 * @throws InvalidOptionError for a bad option
 * @example
 * ```ts run
 * import { collapse } from '@xiaoke/resilience';
 * let runs = 0;
 * const load = () => collapsed.execute(async () => (runs += 1), { key: 'user:1' });
 * const collapsed = collapse();
 * console.log(await Promise.all([load(), load(), load()])); // => [ 1, 1, 1 ]
 * ```
 */
export function collapse(options: CollapseOptions = {}): CollapsePolicy {
  return new Collapse(options);
}

interface Flight {
  readonly scope: Scope;
  readonly result: Promise<unknown>;
  passengers: number;
}

class Collapse extends BasePolicy<never, object> implements CollapsePolicy {
  readonly kind = 'collapse';
  override readonly timeless = true;
  readonly #maxKeys: number;
  readonly #flights = new Map<string, Flight>();
  #calls = 0;
  #joined = 0;

  constructor(options: CollapseOptions) {
    checkObject('', options, ['name', 'maxKeys']);
    super(policyName('collapse', options.name), undefined);
    this.#maxKeys = checkNumber('maxKeys', options.maxKeys ?? 10_000, { min: 1, integer: true });
  }

  parts(): readonly Part[] {
    const around = (inner: Runner): Runner => ({
      run: (scope, operation) => this.#run(inner, scope, operation),
    });
    return [{ type: 'around', around, clock: undefined }];
  }

  stats(): CollapseStats {
    return {
      kind: this.kind,
      name: this.name,
      calls: this.#calls,
      joined: this.#joined,
      inFlight: this.#flights.size,
    };
  }

  #run(inner: Runner, scope: Scope, operation: Operation<unknown>): Promise<unknown> {
    this.#calls += 1;
    const { key } = scope.call.options;
    if (key === undefined) return inner.run(scope, operation);
    const flight = this.#flights.get(key);
    if (flight !== undefined) {
      this.#joined += 1;
      return this.#board(key, flight, scope);
    }
    if (this.#flights.size >= this.#maxKeys) return inner.run(scope, operation);
    return this.#board(key, this.#depart(key, inner, scope, operation), scope);
  }

  // The flight belongs to none of its passengers: it has a call of its own, with the options of the first.
  #depart(key: string, inner: Runner, first: Scope, operation: Operation<unknown>): Flight {
    const call = new CallScope({ ...first.call.options, signal: undefined }, first.call.clock);
    call.cancellable = true;
    const result = inner.run(call, operation);
    const flight: Flight = { scope: call, result, passengers: 0 };
    this.#flights.set(key, flight);
    const land = (): void => this.#land(key, flight);
    result.then(land, land);
    return flight;
  }

  #board(key: string, flight: Flight, scope: Scope): Promise<unknown> {
    flight.passengers += 1;
    return new Promise((resolve, reject) => {
      scope.child = {
        cancel: (reason) => {
          reject(reason);
          this.#leave(key, flight);
        },
      };
      flight.result.then(resolve, reject);
    });
  }

  #leave(key: string, flight: Flight): void {
    flight.passengers -= 1;
    if (flight.passengers > 0) return;
    this.#land(key, flight);
    const reason = withoutStack(() => new XiaokeError('ABANDONED', 'Nobody waits for the result any more'));
    flight.scope.cancel(reason, 'caller', false);
  }

  #land(key: string, flight: Flight): void {
    if (this.#flights.get(key) === flight) this.#flights.delete(key);
  }
}
