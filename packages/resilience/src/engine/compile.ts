import { InvalidOptionError, type Clock } from '@xiaoke/core';
import type { RetryEngine } from '../retry/retry-engine.ts';
import type { CallMeter } from './call-meter.ts';
import { Frame, type Runner } from './frame.ts';
import { commonClock, type Stage } from './stage.ts';

/** One piece of a pipeline, as the compiler sees it. */
export type Part =
  | { readonly type: 'stage'; readonly stage: Stage; readonly clock: Clock }
  | { readonly type: 'retry'; readonly engine: RetryEngine; readonly clock: Clock }
  /** A control flow of its own around the rest. `inner` runs what is inside; it may be run several times. */
  | {
      readonly type: 'around';
      readonly around: (inner: Runner) => Runner;
      readonly clock: Clock | undefined;
    };

/**
 * Compiles parts, outermost first, into nested runners: everything between two `around` parts that holds at most one
 * retry becomes one frame. The outermost frame counts calls. What is innermost runs `innermost`, or the operation.
 *
 * @throws InvalidOptionError when the parts do not share one clock
 */
export function compile(parts: readonly Part[], meter: CallMeter | undefined, innermost?: Runner): Runner {
  const clock = commonClock(parts.flatMap((part) => part.clock ?? []));
  if (clock === undefined)
    throw new InvalidOptionError('clock', 'must be the same for all policies of a pipeline');
  return compileFrom(parts, { clock, innermost }, meter);
}

interface Surroundings {
  readonly clock: Clock;
  /** What the last part runs; without one, the operation. */
  readonly innermost: Runner | undefined;
}

function compileFrom(parts: readonly Part[], around: Surroundings, meter: CallMeter | undefined): Runner {
  const { clock } = around;
  const outer: Stage[] = [];
  const inner: Stage[] = [];
  let retry: RetryEngine | undefined;
  for (const [index, part] of parts.entries()) {
    if (part.type === 'stage') (retry === undefined ? outer : inner).push(part.stage);
    else if (part.type === 'retry' && retry === undefined) retry = part.engine;
    else {
      const next = compileNext(parts, index, around);
      return frame({ outer, inner, retry, next, clock }, meter);
    }
  }
  return frame({ outer, inner, retry, next: around.innermost, clock }, meter);
}

function compileNext(parts: readonly Part[], index: number, surroundings: Surroundings): Runner {
  const part = parts[index];
  if (part?.type !== 'around') return compileFrom(parts.slice(index), surroundings, undefined);
  return part.around(compileFrom(parts.slice(index + 1), surroundings, undefined));
}

interface Segment {
  readonly outer: readonly Stage[];
  readonly inner: readonly Stage[];
  readonly retry: RetryEngine | undefined;
  readonly next: Runner | undefined;
  readonly clock: Clock;
}

function frame({ outer, inner, retry, next, clock }: Segment, meter: CallMeter | undefined): Runner {
  // Without a retry there is one attempt, and the stages before it are the stages around it.
  const parts = retry === undefined ? { outer: [], inner: outer } : { outer, inner };
  return new Frame({ ...parts, retry, next, clock }, meter);
}
