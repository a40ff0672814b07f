import { statfs } from 'node:fs/promises';
import { monitorEventLoopDelay, type IntervalHistogram } from 'node:perf_hooks';
import { InvalidOptionError, systemClock, toMilliseconds, type Clock, type Duration } from '@xiaoke/core';
import type { CheckOutcome } from '../check-result.ts';
import type { HealthChecker } from '../checker.ts';

/** Shares, from 0 to 1, from which something is degraded or unhealthy. */
export interface ShareLimits {
  readonly degraded?: number;
  readonly unhealthy?: number;
}

/** Looks how full a file system is. */
export class DiskHealthChecker implements HealthChecker {
  readonly name: string;
  readonly kind = 'process';
  readonly #path: string;
  readonly #limits: Required<ShareLimits>;

  /** @param limits - shares of the space in use. @default 0.85 and 0.95 */
  constructor(path: string, limits?: ShareLimits);
  constructor(name: string, path: string, limits?: ShareLimits);
  constructor(options: ShareLimits & { readonly path: string });
  constructor(name: string, options: ShareLimits & { readonly path: string });
  constructor(...args: readonly unknown[]) {
    const named = typeof args[1] === 'string' || isWithPath(args[1]);
    const [name, first, second] = named ? args : ['disk', ...args];
    const path: unknown = isWithPath(first) ? first.path : first;
    const limits = (isWithPath(first) ? first : (second ?? {})) as ShareLimits;
    this.name = name as string;
    if (typeof path !== 'string' || path === '') throw new InvalidOptionError('path', 'must be a path');
    this.#path = path;
    this.#limits = resolveLimits(limits, 0.85, 0.95);
  }

  async check(): Promise<CheckOutcome> {
    const { blocks, bavail, bsize } = await statfs(this.#path);
    const used = blocks === 0 ? 0 : 1 - bavail / blocks;
    return judge(used, this.#limits, 'DISK_FULL', { usedShare: rounded(used), freeBytes: bavail * bsize });
  }
}

function isWithPath(value: unknown): value is { readonly path: unknown } {
  return typeof value === 'object' && value !== null && 'path' in value;
}

/** How much memory is how much. */
export interface MemoryCheckerOptions extends ShareLimits {
  /** @default the limit of the container */
  readonly limitBytes?: number;
}

/** Looks how near the process is to its memory limit, by its resident size: the limit is the container's. */
export class MemoryHealthChecker implements HealthChecker {
  readonly name: string;
  readonly kind = 'process';
  readonly #limits: Required<ShareLimits>;
  readonly #limitBytes: number | undefined;

  /** @param options - shares of the limit. @default 0.85 and 0.95; `limitBytes` is the container's */
  constructor(options?: MemoryCheckerOptions);
  constructor(name: string, options?: MemoryCheckerOptions);
  constructor(...args: readonly unknown[]) {
    const [name, given] = typeof args[0] === 'string' ? args : ['memory', args[0]];
    const options = (given ?? {}) as MemoryCheckerOptions;
    this.name = name as string;
    this.#limits = resolveLimits(options, 0.85, 0.95);
    this.#limitBytes = options.limitBytes;
  }

  check(): CheckOutcome {
    const residentBytes = process.memoryUsage.rss();
    const limit = this.#limitBytes ?? process.constrainedMemory();
    // Without a limit the system says an absurdly large number, or zero.
    const share = limit > 0 && limit < 2 ** 50 ? residentBytes / limit : 0;
    return judge(share, this.#limits, 'MEMORY_LOW', { residentBytes, usedShare: rounded(share) });
  }
}

/** How often the loop's delay is taken, in milliseconds. */
const RESOLUTION = 20;

/** From when the event loop is too late. */
export interface EventLoopCheckerOptions {
  /** @default 200 */
  readonly degraded?: Duration;
  /** @default 2000 */
  readonly unhealthy?: Duration;
}

/** Looks how late the event loop is, at the 99th percentile since the last look. */
export class EventLoopHealthChecker implements HealthChecker {
  readonly name: string;
  readonly kind = 'process';
  readonly #degradedMs: number;
  readonly #unhealthyMs: number;
  #delays: IntervalHistogram | undefined;
  #since = 0;

  constructor(options?: EventLoopCheckerOptions);
  constructor(name: string, options?: EventLoopCheckerOptions);
  constructor(...args: readonly unknown[]) {
    const [name, given] = typeof args[0] === 'string' ? args : ['event-loop', args[0]];
    const options = (given ?? {}) as EventLoopCheckerOptions;
    this.name = name as string;
    this.#degradedMs = toMilliseconds(options.degraded ?? 200, 'degraded');
    this.#unhealthyMs = toMilliseconds(options.unhealthy ?? 2_000, 'unhealthy', { min: this.#degradedMs });
  }

  check(): CheckOutcome {
    if (this.#delays === undefined) {
      this.#delays = monitorEventLoopDelay({ resolution: RESOLUTION });
      this.#delays.enable();
      this.#since = performance.now();
      return { status: 'healthy' };
    }
    const delayMs = Math.max(0, this.#measured(this.#delays), this.#unmeasured(this.#delays));
    this.#delays.reset();
    this.#since = performance.now();
    const observed = { delayMs: rounded(delayMs) };
    if (delayMs > this.#unhealthyMs) return { status: 'unhealthy', code: 'EVENT_LOOP_BLOCKED', observed };
    if (delayMs > this.#degradedMs) return { status: 'degraded', code: 'EVENT_LOOP_SLOW', observed };
    return { status: 'healthy', observed };
  }

  /** The histogram counts the whole pause between two ticks, its own resolution included. */
  #measured(delays: IntervalHistogram): number {
    return delays.percentile(99) / 1e6 - RESOLUTION;
  }

  /** A reset histogram leaves out the pause until its first tick, however long that was: what is missing of the time tells. */
  #unmeasured(delays: IntervalHistogram): number {
    const counted = delays.count === 0 ? 0 : (delays.mean * delays.count) / 1e6;
    return performance.now() - this.#since - counted - 2 * RESOLUTION;
  }

  close(): void {
    this.#delays?.disable();
  }
}

/** How often a heartbeat must come. */
export interface HeartbeatCheckerOptions {
  readonly ttl: Duration;
  readonly clock?: Clock;
}

/** Something that must report that it lives: unhealthy when it has not called `beat()` for `ttl`. */
export class HeartbeatHealthChecker implements HealthChecker {
  readonly name: string;
  readonly kind = 'process';
  readonly #ttlMs: number;
  readonly #clock: Clock;
  #last: number | undefined;

  constructor(options: HeartbeatCheckerOptions);
  constructor(name: string, options: HeartbeatCheckerOptions);
  constructor(...args: readonly unknown[]) {
    const [name, given] = typeof args[0] === 'string' ? args : ['heartbeat', args[0]];
    const options = (given ?? {}) as HeartbeatCheckerOptions;
    this.name = name as string;
    this.#ttlMs = toMilliseconds(options.ttl, 'ttl', { min: 1 });
    this.#clock = options.clock ?? systemClock;
  }

  /** Says that it lives. */
  beat(): void {
    this.#last = this.#clock.monotonic();
  }

  check(): CheckOutcome {
    if (this.#last === undefined) return { status: 'unknown', code: 'NO_HEARTBEAT' };
    const ageMs = this.#clock.monotonic() - this.#last;
    const observed = { ageSeconds: rounded(ageMs / 1_000) };
    return ageMs > this.#ttlMs
      ? { status: 'unhealthy', code: 'NO_HEARTBEAT', observed }
      : { status: 'healthy', observed };
  }
}

/** A status that code sets, such as that of a warm-up. */
export class ManualHealthChecker implements HealthChecker {
  readonly name: string;
  readonly kind = 'process';
  #outcome: CheckOutcome;

  constructor(initial?: CheckOutcome);
  constructor(name: string, initial?: CheckOutcome);
  constructor(...args: readonly unknown[]) {
    const [name, initial] = typeof args[0] === 'string' ? args : ['manual', args[0]];
    this.name = name as string;
    this.#outcome = (initial as CheckOutcome | undefined) ?? { status: 'unknown', code: 'NOT_SET' };
  }

  set(status: CheckOutcome['status'], code?: string): void {
    this.#outcome = code === undefined ? { status } : { status, code };
  }

  check(): CheckOutcome {
    return this.#outcome;
  }
}

function judge(
  share: number,
  limits: Required<ShareLimits>,
  code: string,
  observed: CheckOutcome['observed'],
): CheckOutcome {
  if (share >= limits.unhealthy) return { status: 'unhealthy', code, observed };
  if (share >= limits.degraded) return { status: 'degraded', code, observed };
  return { status: 'healthy', observed };
}

function resolveLimits(limits: ShareLimits, degraded: number, unhealthy: number): Required<ShareLimits> {
  const resolved = { degraded: limits.degraded ?? degraded, unhealthy: limits.unhealthy ?? unhealthy };
  for (const name of ['degraded', 'unhealthy'] as const) {
    const share = resolved[name];
    if (!(share > 0 && share <= 1)) throw new InvalidOptionError(name, 'must be a share above 0 and up to 1');
  }
  return resolved;
}

function rounded(value: number): number {
  return Math.round(value * 1_000) / 1_000;
}
