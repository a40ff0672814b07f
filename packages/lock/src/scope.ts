import { AsyncLocalStorage } from 'node:async_hooks';
import type { HeldLock } from './held-lock.ts';

/**
 * "This code runs inside that lock." Frames form a chain outwards. Identity is the chain, not a flag: two siblings of one
 * `Promise.all` have the same parent and are not inside each other.
 */
export interface Frame {
  readonly lock: HeldLock;
  readonly parent: Frame | undefined;
  /** Entered by `run` or `within`, so that any type of lock may be entered again. */
  readonly explicit: boolean;
}

const frames = new AsyncLocalStorage<Frame>();

/** The innermost frame that the caller runs in. */
export function currentFrame(): Frame | undefined {
  return frames.getStore();
}

/** Runs `fn` inside `frame`. Only `run` is used, never `enterWith`, whose reach depends on where it is called. */
export function runInFrame<T>(frame: Frame, fn: () => T): T {
  return frames.run(frame, fn);
}

/** From the innermost frame outwards. */
export function* framesFrom(frame: Frame | undefined): Iterable<Frame> {
  for (let next = frame; next !== undefined; next = next.parent) yield next;
}
