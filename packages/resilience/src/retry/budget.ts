import { InvalidOptionError } from '@xiaoke/core';
import { checkChoice, checkNumber, checkObject } from '../options.ts';

/** How a {@link retryBudget} is filled and spent. */
export type RetryBudgetOptions = RatioBudgetOptions | TokenBudgetOptions | ConcurrencyBudgetOptions;

/** A share of the calls. */
export interface RatioBudgetOptions {
  /**
   * Retries may be this share of the calls, plus a reserve per second. Calls that timed out, or were refused by a policy,
   * earn none. The default of every retry.
   */
  readonly algorithm?: 'ratio' | undefined;
  /** @default 0.2 */
  readonly ratio?: number | undefined;
  /** Lets a quiet client retry at all; one second of it may be used at once. @default 10 */
  readonly minPerSecond?: number | undefined;
}

/** A bucket of tokens. */
export interface TokenBudgetOptions {
  /** A bucket as in the AWS SDKs: retries cost tokens, successes give them back. */
  readonly algorithm: 'tokens';
  /** @default 500 */
  readonly capacity?: number | undefined;
  /** @default 5 */
  readonly cost?: number | undefined;
  /** Cost of a retry after a timeout, which held a connection for its whole time. @default 10 */
  readonly timeoutCost?: number | undefined;
}

/** A share of the calls in flight. */
export interface ConcurrencyBudgetOptions {
  /** Retries may be this share of the calls in flight. */
  readonly algorithm: 'concurrency';
  /** @default 0.2 */
  readonly ratio?: number | undefined;
  /** So many may retry at once in any case. @default 3 */
  readonly min?: number | undefined;
}

/** How a call ended that a budget was told about. */
export interface BudgetedCall {
  readonly succeeded: boolean;
  /** Whether its last attempt ended by a limit of time. */
  readonly timedOut: boolean;
  /** Whether a policy refused it, so that it never reached the dependency. */
  readonly refused: boolean;
  /** Retries and hedges that it was granted. */
  readonly granted: number;
}

/**
 * Bounds the load that retries and hedges add. Share one among all policies that call the same dependency. It is asked
 * last, so what it grants is spent.
 */
export interface RetryBudget {
  /** A call begins. */
  begin(now: number): void;
  /** May one more attempt be made? */
  tryGrant(now: number, afterTimeout: boolean): boolean;
  /** A call has ended. */
  end(call: BudgetedCall): void;
  /** What could be granted now. */
  readonly balance: number;
}

/**
 * Makes a budget that several retries and hedges can share.
 *
 * @example
 * ```ts run
 * import { retry, retryBudget } from '@xiaoke/resilience';
 * const budget = retryBudget({ ratio: 0.1 });
 * const [reads, writes] = [retry({ budget }), retry({ budget, attempts: 2 })];
 * console.log(budget.balance, reads.kind, writes.kind); // => 10 retry retry
 * ```
 */
export function retryBudget(options: RetryBudgetOptions = {}): RetryBudget {
  checkObject('budget', options, [
    'algorithm',
    'ratio',
    'minPerSecond',
    'capacity',
    'cost',
    'timeoutCost',
    'min',
  ]);
  checkChoice('budget.algorithm', options.algorithm ?? 'ratio', ['ratio', 'tokens', 'concurrency']);
  if (options.algorithm === 'tokens') return new TokenBudget(options);
  if (options.algorithm === 'concurrency') return new ConcurrencyBudget(options);
  return new RatioBudget(options);
}

/** The budget of an option: one that is shared, one of its own, the default one, or none. */
export function resolveBudget(
  budget: RetryBudget | RetryBudgetOptions | false | undefined,
): RetryBudget | undefined {
  if (budget === false) return undefined;
  if ((typeof budget !== 'object' && budget !== undefined) || budget === null)
    throw new InvalidOptionError('budget', 'must be a budget, its options or false');
  return budget !== undefined && 'tryGrant' in budget ? budget : retryBudget(budget);
}

// How many seconds of the reserve's rate may be saved up by calls: enough for a blip, too little to feed a storm.
const SAVED_SECONDS = 10;
// Sums of a fifth do not come out at whole numbers.
const ALMOST = 1 - 1e-9;

/** Two purses: what calls have earned, and a reserve that fills by itself, with one second of its rate in it at most. */
class RatioBudget implements RetryBudget {
  readonly #ratio: number;
  readonly #perMillisecond: number;
  readonly #mostEarned: number;
  readonly #mostReserve: number;
  #earned = 0;
  #reserve: number;
  // The reserve is full from the start, so it does not matter when that was.
  #at = 0;

  constructor({ ratio = 0.2, minPerSecond = 10 }: RatioBudgetOptions) {
    this.#ratio = checkNumber('budget.ratio', ratio, { min: 0, max: 1 });
    checkNumber('budget.minPerSecond', minPerSecond, { min: 0, max: 1_000_000 });
    this.#perMillisecond = minPerSecond / 1_000;
    this.#mostReserve = minPerSecond === 0 ? 0 : Math.max(1, minPerSecond);
    this.#mostEarned = SAVED_SECONDS * Math.max(1, minPerSecond);
    this.#reserve = this.#mostReserve;
  }

  get balance(): number {
    return Math.floor(this.#earned + this.#reserve + 1 - ALMOST);
  }

  // What time gives is reckoned when it is needed.
  begin(): void {}

  tryGrant(now: number): boolean {
    const passed = Math.max(0, now - this.#at);
    this.#at = now;
    this.#reserve = Math.min(this.#mostReserve, this.#reserve + passed * this.#perMillisecond);
    if (this.#earned + this.#reserve < ALMOST) return false;
    const fromEarned = Math.min(1, this.#earned);
    this.#earned -= fromEarned;
    this.#reserve = Math.max(0, this.#reserve - (1 - fromEarned));
    return true;
  }

  // A call that timed out earns nothing: when all do, the dependency is overloaded, and a fifth more of the same keeps one
  // down that has a tenth to spare, as the simulation of a retry storm shows. Nor does one that never left this process.
  end({ timedOut, refused }: BudgetedCall): void {
    if (timedOut || refused || this.#earned >= this.#mostEarned) return;
    this.#earned = Math.min(this.#mostEarned, this.#earned + this.#ratio);
  }
}

class TokenBudget implements RetryBudget {
  readonly #capacity: number;
  readonly #cost: number;
  readonly #timeoutCost: number;
  #tokens: number;

  constructor(options: TokenBudgetOptions) {
    const { capacity = 500, cost = 5, timeoutCost = 10 } = options;
    this.#capacity = checkNumber('budget.capacity', capacity, { min: 1, max: 1e9 });
    this.#cost = checkNumber('budget.cost', cost, { min: 1, max: capacity });
    this.#timeoutCost = checkNumber('budget.timeoutCost', timeoutCost, { min: 1, max: capacity });
    this.#tokens = capacity;
  }

  get balance(): number {
    return Math.floor(this.#tokens / this.#cost);
  }

  begin(): void {}

  tryGrant(_now: number, afterTimeout: boolean): boolean {
    const cost = afterTimeout ? this.#timeoutCost : this.#cost;
    if (this.#tokens < cost) return false;
    this.#tokens -= cost;
    return true;
  }

  end({ succeeded, granted }: BudgetedCall): void {
    // As in the AWS SDKs: a retry that worked gives back what it cost, a plain success one token.
    if (succeeded) this.#tokens = Math.min(this.#capacity, this.#tokens + Math.max(1, granted * this.#cost));
  }
}

class ConcurrencyBudget implements RetryBudget {
  readonly #ratio: number;
  readonly #min: number;
  #calls = 0;
  #granted = 0;

  constructor({ ratio = 0.2, min = 3 }: ConcurrencyBudgetOptions) {
    this.#ratio = checkNumber('budget.ratio', ratio, { min: 0, max: 1 });
    this.#min = checkNumber('budget.min', min, { min: 0, integer: true });
  }

  get balance(): number {
    return Math.max(0, Math.floor(Math.max(this.#min, this.#calls * this.#ratio)) - this.#granted);
  }

  begin(): void {
    this.#calls += 1;
  }

  tryGrant(): boolean {
    if (this.balance < 1) return false;
    this.#granted += 1;
    return true;
  }

  end({ granted }: BudgetedCall): void {
    this.#calls -= 1;
    this.#granted -= granted;
  }
}
