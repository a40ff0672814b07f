import type { ConfigManager } from '@xiaoke/config';
import { silentLogger } from '@xiaoke/core';
import { eventually } from '@xiaoke/core/testing';
import { expect, test } from 'vitest';
import { DegradedMode } from '../src/degraded-mode.ts';
import type { Settings } from '../src/settings.ts';

/** A shared configuration whose writes end when the test says so. */
class SlowConfig {
  value = false;
  readonly writes: { readonly value: boolean; readonly end: () => void }[] = [];

  get(): boolean {
    return this.value;
  }

  async set(_path: string, value: boolean): Promise<number> {
    await new Promise<void>((resolve) => this.writes.push({ value, end: resolve }));
    this.value = value;
    return 1;
  }
}

test('readiness that comes back during a slow write leaves nobody degraded', async () => {
  const config = new SlowConfig();
  const degraded = new DegradedMode(config as unknown as ConfigManager<Settings>, silentLogger);
  degraded.follow('unhealthy');
  await eventually(() => config.writes.length === 1);
  degraded.follow('healthy');
  expect(degraded.active).toBe(false);

  config.writes[0]?.end();
  await eventually(() => config.writes.length === 2);
  expect(degraded.active).toBe(false);
  config.writes[1]?.end();
  await eventually(() => !config.value);
  expect(config.writes.map(({ value }) => value)).toEqual([true, false]);
  expect(degraded.active).toBe(false);
});
