import { expect, it } from 'vitest';
import type { GaugeDefinition, LabelDefinitions, MetricsSink } from '@xiaoke/core';
import { noopMetrics } from '@xiaoke/core';
import { createConfigManager } from '../src/index.ts';

type Info = Readonly<Record<string, string>>;

/** A sink that keeps the series of `xiaoke_config_info` and collects them when asked. */
function infoSink(): { readonly sink: MetricsSink; readonly scrape: () => readonly Info[] } {
  const series = new Map<string, Info>();
  const gauge = {
    set: (labels: Info) => void series.set(JSON.stringify(labels), labels),
    remove: (labels: Info) => void series.delete(JSON.stringify(labels)),
  };
  const definitions: GaugeDefinition[] = [];
  const sink: MetricsSink = {
    ...noopMetrics,
    gauge: <L extends LabelDefinitions>(definition: GaugeDefinition<L>) => {
      if (definition.name === 'xiaoke_config_info') definitions.push(definition);
      return noopMetrics.gauge(definition);
    },
  };
  const scrape = (): readonly Info[] => {
    for (const { collect, signal } of definitions)
      if (signal?.aborted !== true) void collect?.(gauge as never);
    return [...series.values()];
  };
  return { sink, scrape };
}

it('instances that agree show one hash, whatever their secrets, and a change replaces the series', async () => {
  const sinks = [infoSink(), infoSink()];
  const managers = await Promise.all(
    sinks.map(({ sink }, index) =>
      createConfigManager({
        environment: 'test',
        defaults: { limit: 1, password: `secret-${index}` },
        metrics: sink,
      }),
    ),
  );
  const [first, second] = sinks.map(({ scrape }) => scrape());
  expect(first).toEqual([
    { version: '0', environment: 'test', hash: expect.stringMatching(/^[0-9a-f]{12}$/) },
  ]);
  expect(second).toEqual(first);

  await managers[0]?.set('limit', 2);
  const [changed] = sinks.map(({ scrape }) => scrape());
  expect(changed).toMatchObject([{ version: '1' }]);
  expect(changed?.[0]?.['hash']).not.toBe(second?.[0]?.['hash']);
  await Promise.all(managers.map((manager) => manager.close()));
});
