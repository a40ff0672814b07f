import { defaultRules } from '@xiaoke/metrics/alerts';
import { startPostgres } from '@xiaoke/test-servers';
import { expect, test } from 'vitest';
import { startService } from '../src/service.ts';
import { AT_ONCE, Client } from './support/client.ts';

// What others bring: the scrape itself, and the recording rules.
const ELSEWHERE = /^(up|ALERTS)$|:/;

test('every series that the alert rules ask for is there once the service has worked', async () => {
  await using postgres = await startPostgres();
  const service = await startService({ port: 0, env: { ...AT_ONCE, DATABASE_URL: postgres.url } });
  try {
    const client = new Client(service.url);
    await client.ended(await client.submitMany(20));
    const metrics = await (await client.call('/metrics')).text();
    const series = new Set([...metrics.matchAll(/^([a-z_]+)[ {]/gm)].map(([, name]) => name ?? ''));

    const expressions = defaultRules().flatMap(({ rules }) => rules.map(({ expr }) => expr));
    const wanted = expressions.flatMap((expr) => expr.match(/\b[a-z]+_[a-z_]*[a-z](?=[{[\s)]|$)/gm) ?? []);
    const known = new Set(
      wanted.filter((name) => /^(xiaoke|http|nodejs|process|medical|user|resource)_/.test(name)),
    );
    expect(known.size).toBeGreaterThan(20);
    expect([...known].filter((name) => !series.has(name) && !ELSEWHERE.test(name))).toEqual([]);
  } finally {
    await service.close();
  }
});
