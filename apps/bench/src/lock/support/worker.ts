/** A process of its own for the benches between processes. Arguments: contender, Redis URL. */
import { contender, type ContenderName } from './contenders.ts';

/** What a worker is told to do. */
export type Order =
  | {
      readonly kind: 'contend';
      readonly tasks: number;
      readonly holdMs: number;
      readonly milliseconds: number;
    }
  | { readonly kind: 'wait once' }
  | { readonly kind: 'stop' };

const [name, url] = process.argv.slice(2) as [ContenderName, string];
const library = await contender(name, url);

async function contend({ tasks, holdMs, milliseconds }: Extract<Order, { kind: 'contend' }>): Promise<void> {
  const waits: number[] = [];
  const end = performance.now() + milliseconds;
  await Promise.all(
    Array.from({ length: tasks }, async () => {
      while (performance.now() < end) {
        const asked = performance.now();
        const release = await library.lock('bench:processes');
        waits.push(performance.now() - asked);
        await new Promise((resolve) => setTimeout(resolve, holdMs));
        await release();
      }
    }),
  );
  process.send?.({ waits });
}

/** Tells when it had the lock, on the clock that all processes of a machine share. */
async function waitOnce(): Promise<void> {
  const release = await library.lock('bench:hand-over');
  process.send?.({ at: Number(process.hrtime.bigint() / 1_000n) });
  await release();
}

process.on('message', (order: Order) => {
  if (order.kind === 'contend') void contend(order);
  else if (order.kind === 'wait once') void waitOnce();
  else void library.close().then(() => process.exit());
});
process.send?.({ ready: true });
