import { InvalidOptionError, type Clock, type Duration, type Random } from '@xiaoke/core';
import type { CircuitBreakerDefinition } from '../breaker/breaker-options.ts';
import { circuitBreaker } from '../breaker/circuit-breaker.ts';
import type { SharedCircuits } from '../breaker/shared-circuits.ts';
import { bulkhead, type BulkheadDefinition } from '../bulkhead/bulkhead.ts';
import type { Configurable, Policy } from '../engine/policy.ts';
import { hedge, type HedgeDefinition } from '../flow/hedge.ts';
import { checkObject, within } from '../options.ts';
import { rateLimit, type RateLimitDefinition } from '../rate-limit/rate-limit.ts';
import type { RateLimitStore } from '../rate-limit/rate-limit-store.ts';
import { retry } from '../retry/retry.ts';
import type { RetryDefinition } from '../retry/retry-options.ts';
import { timeout } from '../timeout/timeout.ts';

/**
 * A named policy as plain data, as it comes from a configuration file. Its parts are put in the recommended order:
 * `totalTimeout`, `rateLimit`, `retry`, `hedge`, `circuitBreaker`, `bulkhead`, `timeout`.
 */
export interface PolicyDefinition {
  readonly retry?: RetryDefinition | undefined;
  readonly circuitBreaker?: (CircuitBreakerDefinition & Shareable) | undefined;
  /** Of each attempt. */
  readonly timeout?: Duration | undefined;
  /** Of the whole call, with all attempts and waits. */
  readonly totalTimeout?: Duration | undefined;
  readonly bulkhead?: BulkheadDefinition | undefined;
  readonly rateLimit?: (RateLimitDefinition & Shareable) | undefined;
  readonly hedge?: HedgeDefinition | undefined;
}

/** A part whose state processes can have in common. */
export interface Shareable {
  /** Whether it is shared, when the manager has Redis. @default true */
  readonly shared?: boolean | undefined;
}

/** What the manager gives to every policy that it makes. */
export interface Surroundings {
  readonly clock: Clock;
  readonly random: Random;
  readonly shared: SharedCircuits | undefined;
  readonly store: RateLimitStore | undefined;
  /** Told of every policy that is made. */
  readonly onBuilt: (policy: Policy<unknown>) => void;
}

/** A part of a definition. */
export type PartName = keyof PolicyDefinition;

/** A policy that can take new options of its part. */
export interface BuiltPart {
  readonly policy: Policy<unknown>;
  readonly reconfigure: (definition: PolicyDefinition) => void;
}

/** The parts, outermost first. */
export const PART_ORDER: readonly PartName[] = [
  'totalTimeout',
  'rateLimit',
  'retry',
  'hedge',
  'circuitBreaker',
  'bulkhead',
  'timeout',
];

/** Checks the outline of a definition; its parts are checked by the policies that are made of them. */
export function checkDefinition(definition: PolicyDefinition): void {
  checkObject('', definition, PART_ORDER);
  if (PART_ORDER.every((part) => definition[part] === undefined))
    throw new InvalidOptionError('definition', `must have at least one of ${PART_ORDER.join(', ')}`);
  for (const part of PART_ORDER) {
    if (definition[part] !== undefined && part !== 'timeout' && part !== 'totalTimeout')
      checkPart(part, definition[part]);
  }
}

function checkPart(part: PartName, options: unknown): void {
  if (typeof options !== 'object' || options === null || Array.isArray(options))
    throw new InvalidOptionError(part, 'must be an object');
}

/** Makes the policy of one part. The name is that of the whole, so that errors and metrics tell whose it is. */
export function buildPart(
  part: PartName,
  name: string,
  definition: PolicyDefinition,
  around: Surroundings,
): BuiltPart {
  const { clock, random, shared, store } = around;
  const common = { name, clock };
  switch (part) {
    case 'retry':
      return built(part, definition, retry, (from) => ({ ...from.retry, ...common, random }));
    case 'circuitBreaker':
      return built(
        part,
        definition,
        circuitBreaker,
        ({ circuitBreaker: { shared: share = true, ...from } = {} }) => ({
          ...from,
          ...common,
          random,
          shared: share ? shared : undefined,
        }),
      );
    case 'bulkhead':
      return built(part, definition, bulkhead, (from) => ({ ...need(from.bulkhead), ...common }));
    case 'rateLimit':
      return built(part, definition, rateLimit, (from) => {
        const { shared: share = true, ...limit } = need(from.rateLimit);
        return { ...limit, ...common, store: share ? store : undefined };
      });
    case 'hedge':
      return built(part, definition, hedge, (from) => ({ ...need(from.hedge), ...common }));
    case 'timeout':
    case 'totalTimeout': {
      const policy = within(part, () => timeout(need(definition[part]), common));
      return {
        policy,
        reconfigure: (changed) => within(part, () => policy.configure({ duration: need(changed[part]) })),
      };
    }
  }
}

function built<O>(
  part: PartName,
  definition: PolicyDefinition,
  make: (options: O) => Policy<unknown> & Configurable<O>,
  optionsFrom: (definition: PolicyDefinition) => O,
): BuiltPart {
  const policy = within(part, () => make(optionsFrom(definition)));
  return { policy, reconfigure: (changed) => within(part, () => policy.configure(optionsFrom(changed))) };
}

function need<T>(value: T | undefined): T {
  if (value === undefined) throw new InvalidOptionError('definition', 'lost a part');
  return value;
}
