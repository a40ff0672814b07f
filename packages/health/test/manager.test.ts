import { afterEach, beforeEach, expect, test } from 'vitest';
import { InvalidOptionError, RetryLaterError, type HealthStatus } from '@xiaoke/core';
import { eventually, FakeClock, recordingLogger, recordingMetrics, trackLeaks } from '@xiaoke/core/testing';
import {
  createHealthCheckManager,
  getHealthCheckManager,
  HealthError,
  type CheckResult,
  type HealthCheckManager,
} from '@xiaoke/health';

let clock: FakeClock;
let health: HealthCheckManager;

beforeEach(() => {
  clock = new FakeClock();
  health = createHealthCheckManager({ clock, random: () => 0 });
});
afterEach(() => health.close());

/** A check whose results are given one after the other; the last one stays. */
function scripted(...results: (CheckResult | Error)[]): () => CheckResult {
  let index = 0;
  return () => {
    const result = results[Math.min(index, results.length - 1)];
    index += 1;
    if (result instanceof Error) throw result;
    return result;
  };
}

const every = { interval: 1_000, failingInterval: 1_000, timeout: 500 } as const;

test('nothing is known before the first run, and nothing to look at is healthy', async () => {
  expect(health.status()).toBe('healthy');
  health.registerCustomChecker('db', () => true);
  expect([health.status(), health.report().checks['db']?.code]).toEqual(['unknown', 'NOT_CHECKED']);
  await health.start();
  expect(health.status()).toBe('healthy');
});

test.each<[CheckResult | Error, HealthStatus, string | undefined]>([
  [undefined, 'healthy', undefined],
  [true, 'healthy', undefined],
  [false, 'unhealthy', 'FAILED'],
  ['degraded', 'degraded', undefined],
  [{ status: 'degraded', code: 'SLOW' }, 'degraded', 'SLOW'],
  [{ status: 'fine' } as never, 'unhealthy', 'BAD_RESULT'],
  [5 as never, 'unhealthy', 'BAD_RESULT'],
  [new Error('password=hunter2'), 'unhealthy', 'FAILED'],
  [new RetryLaterError(5), 'unhealthy', 'RETRY_LATER'],
  [{ status: 'unhealthy', code: 'postgres://u:hunter2@h' }, 'unhealthy', undefined],
])('a check that gives %o is %s', async (result, status, code) => {
  health.registerCustomChecker('x', scripted(result));
  expect(await health.check('x')).toMatchObject({ status, code });
  expect(JSON.stringify(health.report(undefined, { details: true }))).not.toContain('hunter2');
});

test('a first failure counts at once, later ones only in a row, and so does getting well', async () => {
  const config = { ...every, failureThreshold: 3, successThreshold: 2 };
  health.registerCustomChecker('x', scripted(true, false, false, true, false, false, false, true, true), {
    config,
  });
  const seen: string[] = [];
  for (let run = 0; run < 9; run += 1) seen.push((await health.check('x')).status);
  expect(seen.map((status) => status.charAt(0)).join('')).toBe('hhhhhhuuh');
  health.registerCustomChecker('y', scripted(false, true), { config: { successThreshold: 1 } });
  expect((await health.check('y')).status).toBe('unhealthy');
  expect((await health.check('y')).status).toBe('healthy');
});

test('checks run by themselves, sooner while they fail, and one registered late starts at once', async () => {
  const times: number[] = [];
  const config = { interval: 1_000, failingInterval: 100, timeout: 50, failureThreshold: 1 };
  const results = scripted(true, false, false, true);
  health.registerCustomChecker('x', () => (times.push(clock.monotonic()), results()), { config });
  await health.start();
  await clock.advance(2_500);
  expect(times).toEqual([0, 1_000, 1_100, 1_200, 2_200]);
  let ran = 0;
  health.registerCustomChecker('late', () => void (ran += 1));
  await clock.advance(0);
  expect(ran).toBe(1);
});

test('a check that hangs is cut at its deadline, told so, and never runs beside itself', async () => {
  let running = 0;
  let most = 0;
  let release = (): void => {};
  const aborted: unknown[] = [];
  health.registerCustomChecker(
    'stuck',
    ({ signal, phase }) => {
      running += 1;
      most = Math.max(most, running);
      phase('query');
      signal.addEventListener('abort', () => aborted.push(signal.reason));
      return new Promise<void>((resolve) => (release = resolve)).finally(() => (running -= 1));
    },
    { config: { ...every, failureThreshold: 1 } },
  );
  const starting = health.start();
  await clock.advance(500);
  await starting;
  expect(health.report(undefined, { details: true }).checks['stuck']).toMatchObject({
    status: 'unhealthy',
    code: 'TIMEOUT',
    durationMs: 500,
    observed: { phase: 'query' },
  });
  await clock.advance(5_000);
  expect([most, aborted.length, health.report().checks['stuck']?.code]).toEqual([1, 1, 'STILL_RUNNING']);
  release();
  await clock.advance(1_000);
  expect(most).toBe(1);
});

test('fifty callers share one run', async () => {
  let runs = 0;
  health.registerCustomChecker('x', async () => void (runs += 1));
  await Promise.all(Array.from({ length: 50 }, () => health.check('x')));
  expect(runs).toBe(1);
});

test('a result that is too old is unknown, and readiness with it', async () => {
  health.registerCustomChecker('x', () => true, { config: { ...every, interval: '1h', maxAge: '2s' } });
  const changes: string[] = [];
  health.addStatusChangeCallback((from, to) => changes.push(`${from}>${to}`));
  await health.start();
  await clock.advance(1_900);
  expect(health.status('readiness')).toBe('healthy');
  await clock.advance(1_200);
  expect([health.status('readiness'), health.report().checks['x']?.code]).toEqual(['unknown', 'STALE']);
  expect(changes).toEqual(['unknown>healthy', 'healthy>unknown']);
});

test('an optional check only degrades, groups are apart, and liveness refuses a dependency', async () => {
  health.registerCustomChecker('main', () => true);
  health.registerCustomChecker('extra', () => false, { config: { critical: false } });
  health.registerCustomChecker('loop', () => true, { config: { groups: ['liveness'] } });
  await health.start();
  expect([
    health.status(),
    health.status('readiness'),
    health.status('liveness'),
    health.status('startup'),
  ]).toEqual(['degraded', 'degraded', 'healthy', 'healthy']);
  expect(() =>
    health.registerRedisChecker('r', 'redis://localhost', { config: { groups: ['liveness'] } }),
  ).toThrow(InvalidOptionError);
});

test('a check is not run while the one it depends on is down', async () => {
  let runs = 0;
  health.registerCustomChecker('network', scripted(false, true), { config: every });
  health.registerCustomChecker('api', () => void (runs += 1), {
    config: { ...every, dependsOn: ['network'] },
  });
  await health.check('network');
  expect(await health.check('api')).toMatchObject({ status: 'unknown', code: 'PARENT_DOWN' });
  expect(runs).toBe(0);
  await health.check('network');
  expect((await health.check('api')).status).toBe('healthy');
});

test('callbacks see the overall status, or one group or check; a bad one hurts nobody', async () => {
  const logger = recordingLogger();
  await using manager = createHealthCheckManager({ clock, logger });
  const seen: string[] = [];
  manager.addStatusChangeCallback(() => {
    throw new Error('bad callback');
  });
  const stop = manager.addStatusChangeCallback((from, to, change) =>
    seen.push(`all ${from}>${to} ${change.failing.join()}`),
  );
  manager.addStatusChangeCallback((from, to) => seen.push(`group ${from}>${to}`), { group: 'g' });
  manager.addStatusChangeCallback((from, to, { code }) => seen.push(`check ${from}>${to} ${code}`), {
    check: 'x',
  });
  manager.registerCustomChecker('x', scripted(true, { status: 'unhealthy', code: 'GONE' }), {
    config: { groups: ['g'], failureThreshold: 1 },
  });
  await manager.check('x');
  await manager.check('x');
  await clock.advance(0);
  expect(seen.sort()).toEqual([
    'all healthy>unhealthy x',
    'all unknown>healthy ',
    'check healthy>unhealthy GONE',
    'check unknown>healthy undefined',
    'group healthy>unhealthy',
    'group unknown>healthy',
  ]);
  expect(manager.stats().callbackErrors).toBe(2);
  stop();
});

test('a check that keeps changing is called flapping once, and is degraded until it settles', async () => {
  const flapping: string[] = [];
  health.on('flapping', ({ check }) => flapping.push(check));
  let well = false;
  let steady = false;
  const flip = (): boolean => steady || (well = !well);
  health.registerCustomChecker('x', flip, { config: { failureThreshold: 3 } });
  for (let run = 0; run < 20; run += 1) await health.check('x');
  expect([flapping, health.report().checks['x']]).toEqual([
    ['x'],
    { status: 'degraded', code: 'FLAPPING', critical: true },
  ]);
  steady = true;
  for (let run = 0; run < 20; run += 1) await health.check('x');
  expect(health.status()).toBe('healthy');
});

test('recovery is tried after enough failures, with growing pauses, not for ever, and anew after it was well', async () => {
  const tried: number[] = [];
  const events: string[] = [];
  health.on('recovery', ({ outcome, attempt }) => events.push(`${outcome} ${attempt}`));
  let well = false;
  health.registerCustomChecker('x', () => well, {
    config: {
      ...every,
      recover: {
        after: 2,
        backoff: 1_000,
        maxAttempts: 3,
        action: () => {
          tried.push(clock.monotonic());
          if (tried.length === 2) throw new Error('no luck');
        },
      },
    },
  });
  await health.start();
  await clock.advance(20_000);
  expect(tried).toEqual([1_000, 2_000, 4_000]);
  expect(events).toEqual(['done 1', 'failed 2', 'done 3', 'exhausted 3']);
  well = true;
  await clock.advance(2_000);
  well = false;
  await clock.advance(2_000);
  expect(tried.length).toBe(4);
});

test('uptime is weighted by time, and history is bounded', async () => {
  const config = { ...every, failureThreshold: 1, history: 5 };
  health.registerCustomChecker('x', scripted(true, false, true), { config });
  await health.start();
  expect(health.uptime('x', '1h').knownMs).toBe(0);
  await clock.advance(4_000);
  const uptime = health.uptime('x', '1h');
  expect([uptime.downMs, uptime.knownMs, uptime.ratio, uptime.samples]).toEqual([1_000, 4_000, 0.75, 5]);
  expect(health.history('x').map(({ status }) => status)).toEqual([
    'healthy',
    'unhealthy',
    'healthy',
    'healthy',
    'healthy',
  ]);
  await clock.advance(2_000);
  expect(health.history('x')).toHaveLength(5);
});

test('an indicator of another manager is a check', async () => {
  health.registerIndicator({ name: 'queue', check: async () => ({ status: 'degraded', code: 'BACKLOG' }) });
  expect(await health.check('queue')).toMatchObject({ status: 'degraded', code: 'BACKLOG' });
});

test('numbers are reported under the names of the suite', async () => {
  const metrics = recordingMetrics();
  await using manager = createHealthCheckManager({ clock, metrics });
  manager.registerCustomChecker('x', () => false, { config: { critical: false } });
  await manager.check('x');
  await metrics.collect();
  expect(metrics.value('xiaoke_health_checks_total', { check: 'x', outcome: 'unhealthy' })).toBe(1);
  expect(metrics.value('xiaoke_health_status', { check: 'x', critical: 'false', status: 'unhealthy' })).toBe(
    1,
  );
  expect(metrics.value('xiaoke_health_service_status', { status: 'degraded' })).toBe(1);
  expect(metrics.value('xiaoke_health_status_changes_total', { check: 'x', to: 'unhealthy' })).toBe(1);
  expect(metrics.value('xiaoke_health_last_check_timestamp_seconds', { check: 'x' })).toBe(
    clock.now() / 1_000,
  );
});

test('a shutdown takes readiness away and nothing else', async () => {
  health.registerCustomChecker('x', () => true);
  await health.start();
  health.shutDown();
  expect([health.status('readiness'), health.status('liveness'), health.status()]).toEqual([
    'unhealthy',
    'healthy',
    'healthy',
  ]);
});

test('closing ends what runs, runs nothing any more, and leaves nothing alive', async () => {
  const check = trackLeaks();
  const manager = createHealthCheckManager();
  let closed = 0;
  const checker = {
    name: 'slow',
    kind: 'process',
    check: () => new Promise<void>(() => {}),
    close: () => void (closed += 1),
  } as const;
  manager.registerChecker(checker, { config: { interval: 10, timeout: 60_000 } });
  const starting = manager.start();
  await manager.close();
  await manager.close();
  await starting;
  expect(closed).toBe(1);
  await expect(manager.check('slow')).rejects.toThrow(HealthError);
  expect(() => manager.registerCustomChecker('x', () => true)).toThrow(/closed/);
  await check(10_000);
});

test('a check can be taken out, and a name is taken once', async () => {
  health.registerCustomChecker('x', () => false);
  await health.start();
  expect(() => health.registerCustomChecker('x', () => true)).toThrow(/registered already/);
  expect([health.unregister('x'), health.unregister('x'), health.status()]).toEqual([true, false, 'healthy']);
  await expect(health.check('x')).rejects.toThrow(/no check named/);
  expect(getHealthCheckManager()).toBe(getHealthCheckManager());
  await getHealthCheckManager().close();
});

test.each([
  [{ interval: 0 }, 'interval'],
  [{ timeout: -1 }, 'timeout'],
  [{ failureThreshold: 0 }, 'failureThreshold'],
  [{ groups: [] }, 'groups'],
  [{ jitter: 2 }, 'jitter'],
  [{ critical: 'yes' }, 'critical'],
  [{ history: 1.5 }, 'history'],
  [{ recover: {} }, 'recover.action'],
])('%j is refused', (config, option) => {
  expect(() => health.registerCustomChecker('x', () => true, { config: config as never })).toThrow(
    new RegExp(option),
  );
  expect(health.snapshots()).toEqual([]);
});

test('a timeout that is only our own blocked loop says nothing about the dependency', async () => {
  await using manager = createHealthCheckManager({ logger: recordingLogger() });
  let runs = 0;
  manager.registerCustomChecker(
    'x',
    () => {
      runs += 1;
      if (runs !== 2) return true;
      // Block well past the deadline before anything could answer.
      const end = performance.now() + 800;
      return new Promise<boolean>((resolve) => setTimeout(() => resolve(true), 250)).finally(
        () => performance.now() < end,
      );
    },
    { config: { interval: 50, timeout: 100, failureThreshold: 1, jitter: 0 } },
  );
  await manager.start();
  await eventually(() => runs === 2);
  const end = performance.now() + 700;
  while (performance.now() < end);
  await eventually(() => runs > 2);
  expect(manager.history('x').filter(({ status }) => status !== 'healthy')).toEqual([]);
});
