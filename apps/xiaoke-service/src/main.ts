/** Runs the service until SIGTERM or SIGINT: the first drains and closes it, a second one ends it at once. */
import { startService } from './service.ts';

const service = await startService();
console.log(`xiaoke-service is serving at ${service.url}`);

let stopping = false;
for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.on(signal, () => {
    if (stopping) process.exit(1);
    stopping = true;
    service.close().then(
      () => console.log('xiaoke-service has stopped'),
      (error: unknown) => {
        console.error(error);
        process.exitCode = 1;
      },
    );
  });
}
