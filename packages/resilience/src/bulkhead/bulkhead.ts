import { toMilliseconds, type Clock, type Duration } from '@xiaoke/core';
import type { Part } from '../engine/compile.ts';
import {
  BasePolicy,
  policyName,
  type Configurable,
  type Policy,
  type PolicyStats,
} from '../engine/policy.ts';
import type { Scope } from '../engine/scope.ts';
import { refuse, type REFUSED, type Stage } from '../engine/stage.ts';
import { BulkheadFullError, withoutStack } from '../errors.ts';
import { checkChoice, checkNumber, checkObject } from '../options.ts';
import { WaitQueue, type QueueOrder } from './wait-queue.ts';

/** Options of a bulkhead that are plain data. */
export interface BulkheadDefinition {
  /** Operations that run at once. */
  readonly concurrency: number;
  /** Calls that may wait for a place. @default 0 */
  readonly queue?: number | undefined;
  /** How long each may wait. @default Infinity */
  readonly maxWait?: Duration | undefined;
  /** Who of the waiting goes first. With `priority` a full queue sends away a lower priority for a higher one. @default 'fifo' */
  readonly order?: QueueOrder | undefined;
  /**
   * When the place of an operation that was given up (timeout, abort) is free again: when it has really ended, or at once,
   * so that more than `concurrency` may run. @default 'settle'
   */
  readonly releaseOn?: 'settle' | 'abandon' | undefined;
}

/** Options of {@link bulkhead}. */
export interface BulkheadOptions extends BulkheadDefinition {
  readonly name?: string | undefined;
  readonly clock?: Clock | undefined;
}

/** What a {@link bulkhead} saw. */
export interface BulkheadStats extends PolicyStats {
  readonly kind: 'bulkhead';
  readonly concurrency: number;
  readonly active: number;
  readonly queued: number;
  readonly admitted: number;
  /** Admitted after a wait. */
  readonly waited: number;
  readonly rejected: number;
}

/** A {@link bulkhead}. */
export interface BulkheadPolicy extends Policy, Configurable<BulkheadOptions> {
  readonly kind: 'bulkhead';
  stats(): BulkheadStats;
}

interface Resolved {
  readonly concurrency: number;
  readonly queue: number;
  readonly maxWait: number;
  readonly order: QueueOrder;
  readonly releaseOn: 'settle' | 'abandon';
}

/**
 * Lets so many operations run at once, a bounded number wait, and refuses the rest with `BULKHEAD_FULL`. A place that
 * becomes free goes to who waits, never to a newcomer.
 *
 * @throws InvalidOptionError for a bad option
 * @example
 * ```ts run
 * import { bulkhead } from '@xiaoke/resilience';
 * const one = bulkhead({ concurrency: 1 });
 * const first = one.execute(() => new Promise((resolve) => setTimeout(resolve, 5)));
 * console.log(await one.execute(() => 'second').catch((error) => error.code)); // => BULKHEAD_FULL
 * await first;
 * ```
 */
export function bulkhead(options: BulkheadOptions): BulkheadPolicy {
  return new Bulkhead(options);
}

class Bulkhead extends BasePolicy<never, object> implements BulkheadPolicy, Stage {
  readonly kind = 'bulkhead';
  readonly #queue: WaitQueue;
  #options: Resolved;
  #active = 0;
  readonly #counts = { admitted: 0, waited: 0, rejected: 0 };

  constructor(options: BulkheadOptions) {
    const resolved = resolveOptions(options);
    super(policyName('bulkhead', options.name), options.clock);
    this.#options = resolved;
    this.#queue = new WaitQueue(this.clock);
  }

  get holdsUntilSettled(): boolean {
    return this.#options.releaseOn === 'settle';
  }

  configure(options: BulkheadOptions): void {
    this.#options = resolveOptions(options);
    this.#fill();
  }

  enter(scope: Scope): undefined | typeof REFUSED | Promise<void> {
    if (this.#active < this.#options.concurrency) {
      this.#active += 1;
      this.#counts.admitted += 1;
      return undefined;
    }
    return this.#wait(scope);
  }

  leave(): void {
    this.#active -= 1;
    if (this.#queue.size > 0) this.#fill();
  }

  parts(): readonly Part[] {
    return [{ type: 'stage', stage: this, clock: this.clock }];
  }

  stats(): BulkheadStats {
    const { kind, name } = this;
    const { concurrency } = this.#options;
    return { kind, name, concurrency, active: this.#active, queued: this.#queue.size, ...this.#counts };
  }

  #wait(scope: Scope): typeof REFUSED | Promise<void> {
    const { queue, order, maxWait } = this.#options;
    if (this.#queue.size >= queue && !this.#makeRoom(scope)) return refuse(scope, this.#refusal('is full'));
    return this.#queue.wait(scope, order, maxWait, () => this.#refusal('kept the call waiting too long'));
  }

  #makeRoom(scope: Scope): boolean {
    const { order, queue } = this.#options;
    if (order !== 'priority' || queue === 0 || !this.#queue.holdsBelow(scope.call.priority)) return false;
    return this.#queue.refuseLast(order, () => this.#refusal('gave the place to a higher priority'));
  }

  /** Hands free places over. The one who gets a place counts as active before it runs, so nobody can slip in between. */
  #fill(): void {
    while (this.#active < this.#options.concurrency && this.#queue.grantNext(this.#options.order)) {
      this.#active += 1;
      this.#counts.admitted += 1;
      this.#counts.waited += 1;
    }
  }

  #refusal(problem: string): BulkheadFullError {
    this.#counts.rejected += 1;
    return withoutStack(
      () =>
        new BulkheadFullError('BULKHEAD_FULL', `Bulkhead "${this.name}" ${problem}`, { policy: this.name }),
    );
  }
}

function resolveOptions(options: BulkheadOptions): Resolved {
  checkObject('', options, ['name', 'clock', 'concurrency', 'queue', 'maxWait', 'order', 'releaseOn']);
  const { queue = 0, maxWait = Infinity, order = 'fifo', releaseOn = 'settle' } = options;
  return Object.freeze({
    concurrency: checkNumber('concurrency', options.concurrency, { min: 1, integer: true }),
    queue: checkNumber('queue', queue, { min: 0, integer: true }),
    maxWait: toMilliseconds(maxWait, 'maxWait', { max: Infinity }),
    order: checkChoice('order', order, ['fifo', 'lifo', 'priority']),
    releaseOn: checkChoice('releaseOn', releaseOn, ['settle', 'abandon']),
  });
}
