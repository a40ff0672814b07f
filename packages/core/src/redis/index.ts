/** The shared leaf of @xiaoke: durations, errors, clocks, typed events, decorators and Redis plumbing. */
export {};
