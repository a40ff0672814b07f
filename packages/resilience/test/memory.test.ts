import { spawnNode } from '@xiaoke/test-servers';
import { expect, test } from 'vitest';

test('an idle breaker is under 2 kB and has no timer; dropped ones are collected, also those that were open', async () => {
  const code = `
    import { circuitBreaker } from '@xiaoke/resilience';
    const COUNT = 10_000;
    const gc = globalThis.gc as () => void;
    const heap = (): number => (gc(), gc(), process.memoryUsage().heapUsed);
    const timers = (): number => process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length;
    let collected = 0;
    // Out here it is kept: a registry that is itself collected tells nothing.
    const registry = new FinalizationRegistry(() => { collected += 1; });
    async function main(): Promise<void> {
      const before = heap();
      let kept: ReturnType<typeof circuitBreaker>[] | undefined = Array.from({ length: COUNT }, () => circuitBreaker());
      const bytes = (heap() - before) / COUNT;
      for (const breaker of kept.slice(0, 1_000)) {
        breaker.open();
        await breaker.execute(() => 1).catch(() => {});
      }
      const pending = timers();
      for (const breaker of kept) registry.register(breaker, 0);
      kept = undefined;
      for (let turn = 0; turn < 50 && collected < COUNT; turn += 1) {
        gc();
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      process.send?.({ bytes, pending, collected });
    }
    void main();
  `;
  const child = spawnNode({ code, from: import.meta.url }, { execArgv: ['--expose-gc'] });
  const report = await child.message(() => true);
  expect(Number(report['bytes'])).toBeLessThan(2_048);
  expect(report['pending']).toBe(0);
  expect(Number(report['collected'])).toBeGreaterThanOrEqual(9_990);
  await child.kill();
}, 60_000);

test('a process whose calls are done ends by itself, and one with a call that hangs lives until its timeout', async () => {
  const code = `
    import { bulkhead, circuitBreaker, pipeline, retry, timeout } from '@xiaoke/resilience';
    const policy = pipeline(retry(), circuitBreaker(), bulkhead({ concurrency: 1 }), timeout('1h'));
    void policy.execute(async () => 'ok').then(() => console.log('done at once'));
    void timeout(200).execute(() => new Promise(() => {})).catch((error: { code: string }) => console.log('ended with', error.code));
    process.disconnect?.();
  `;
  const child = spawnNode({ code, from: import.meta.url });
  await child.line('done at once');
  await child.line('ended with TIMEOUT');
  expect((await child.exited).code).toBe(0);
}, 30_000);
