import { mkdtempSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { findBinary } from './find-binary.ts';
import { processGuard } from './process-guard.ts';
import { runProgram } from './run-program.ts';

/** A wall clock of its own for the processes that are started with {@link SettableClock.env}. */
export interface SettableClock {
  /** For `startRedis({ env })` and `spawnNode(file, { env })`. */
  readonly env: NodeJS.ProcessEnv;
  /** Sets it so many seconds ahead of the true time, or behind it. It runs on from there. */
  set(secondsAhead: number): void;
}

/**
 * Makes a wall clock that can be set under running processes, by libfaketime. Their monotonic clocks stay true, so timers
 * fire as they would when an administrator or NTP sets a real clock.
 *
 * @example
 * ```ts
 * const clock = await settableClock();
 * await using redis = await startRedis({ env: clock.env });
 * clock.set(3_600);
 * ```
 */
export async function settableClock(): Promise<SettableClock> {
  const directory = mkdtempSync(join(processGuard().root, 'clock-'));
  const file = join(directory, 'offset');
  const set = (secondsAhead: number): void => {
    // Renamed, so that nobody reads half of it.
    writeFileSync(`${file}.new`, `${secondsAhead < 0 ? '' : '+'}${secondsAhead}\n`);
    renameSync(`${file}.new`, file);
  };
  set(0);
  // Where the library lies, only its own wrapper knows.
  const wrapper = findBinary('faketime', 'faketime');
  const library = await runProgram(wrapper, ['-f', '+0', 'printenv', 'LD_PRELOAD']);
  const env = {
    // The jemalloc of Redis asks for the time while libfaketime, which it has just asked, allocates; glibc's own does not.
    LD_PRELOAD: `${library.trim()}:libc_malloc_debug.so.0`,
    FAKETIME_TIMESTAMP_FILE: file,
    FAKETIME_NO_CACHE: '1',
    FAKETIME_DONT_FAKE_MONOTONIC: '1',
    DONT_FAKE_MONOTONIC: '1',
  };
  return { env, set };
}
