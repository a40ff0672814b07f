import { spawnNode } from '@xiaoke/test-servers';
import { expect, test } from 'vitest';

test('a driver that is not installed is an unhealthy result with a code, not a throw', async () => {
  // As without the packages: in this process they cannot be resolved.
  await using child = spawnNode({
    from: import.meta.url,
    code: `
      import { register } from 'node:module';
      const hooks = \`
        const gone = ['pg', 'mysql2', 'mongodb', 'amqplib'];
        export async function resolve(specifier, context, next) {
          if (!gone.includes(specifier)) return await next(specifier, context);
          throw Object.assign(new Error('Cannot find package ' + specifier), { code: 'ERR_MODULE_NOT_FOUND' });
        }\`;
      register('data:text/javascript,' + encodeURIComponent(hooks));
      const { createHealthCheckManager, RabbitMqHealthChecker } = await import('@xiaoke/health');
      const health = createHealthCheckManager();
      health
        .registerDatabaseChecker('pg', 'postgresql://127.0.0.1:1/d')
        .registerDatabaseChecker('mysql', 'mysql://127.0.0.1:1/d')
        .registerDatabaseChecker('mongo', 'mongodb://127.0.0.1:1/d')
        .registerChecker(new RabbitMqHealthChecker('amqp://127.0.0.1:1'));
      await health.start();
      process.send({ kind: 'found', found: health.snapshots().map(({ status, code }) => status + ' ' + code) });
      await health.close();
      process.disconnect();
    `,
  });
  const message = await child.message((told) => told['kind'] === 'found');
  expect(message['found']).toEqual(Array.from({ length: 4 }, () => 'unhealthy DRIVER_MISSING'));
  expect((await child.exited).code).toBe(0);
});
