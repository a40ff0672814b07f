/** A process of its own for the bench of propagation. Arguments: candidate, Redis URL. */
import { Redis } from 'ioredis';
import { createConfigManager } from '@xiaoke/config';

/** What a member is told to do. */
export type Order =
  | { readonly kind: 'write'; readonly commits: number; readonly gapMs: number }
  | { readonly kind: 'report' }
  | { readonly kind: 'stop' };

/** A library that hands a value from one process to the others. */
interface Member {
  write(value: number): Promise<unknown>;
  close(): Promise<unknown>;
}

/** When each value was seen here, in microseconds of the clock that all processes of a machine share. */
const seen = new Map<number, number>();
const now = (): number => Number(process.hrtime.bigint() / 1_000n);
const note = (value: unknown): void => {
  if (typeof value === 'number' && !seen.has(value)) seen.set(value, now());
};

async function xiaoke(url: string): Promise<Member> {
  const config = await createConfigManager({
    redis: url,
    namespace: 'bench',
    defaults: Object.fromEntries(Array.from({ length: 50 }, (_, index) => [`key${index}`, { a: index }])),
  });
  config.subscribe('limits.rps', (value) => note(value));
  return { write: (value) => config.set('limits.rps', value), close: () => config.close() };
}

/** The least that can be done on Redis: a value, and a message that says it is another. Loses what is sent while away. */
async function bare(url: string): Promise<Member> {
  const [client, subscriber] = [new Redis(url), new Redis(url)];
  subscriber.on('message', () => {
    void client.get('bench:bare').then((text) => note((JSON.parse(text ?? '{}') as { rps?: unknown }).rps));
  });
  await subscriber.subscribe('bench:changed');
  return {
    write: (value) =>
      client
        .multi()
        .set('bench:bare', JSON.stringify({ rps: value }))
        .publish('bench:changed', String(value))
        .exec(),
    close: async () => {
      await subscriber.quit();
      await client.quit();
    },
  };
}

/** What config servers without a push do. */
async function polling(url: string): Promise<Member> {
  const client = new Redis(url);
  const timer = setInterval(() => {
    void client.get('bench:polled').then((text) => note((JSON.parse(text ?? '{}') as { rps?: unknown }).rps));
  }, 1_000);
  return {
    write: (value) => client.set('bench:polled', JSON.stringify({ rps: value })),
    close: async () => {
      clearInterval(timer);
      await client.quit();
    },
  };
}

const members: Readonly<Record<string, (url: string) => Promise<Member>>> = { xiaoke, bare, polling };
const [name = '', url = ''] = process.argv.slice(2);
const member = await members[name]?.(url);

async function write(commits: number, gapMs: number): Promise<void> {
  const called: number[] = [];
  const done: number[] = [];
  for (let value = 1; value <= commits; value += 1) {
    called.push(now());
    await member?.write(value);
    done.push(now());
    await new Promise((resolve) => setTimeout(resolve, gapMs));
  }
  process.send?.({ called, done });
}

process.on('message', (order: Order) => {
  if (order.kind === 'write') void write(order.commits, order.gapMs);
  else if (order.kind === 'report') {
    process.send?.({ seen: [...seen] });
    seen.clear();
  } else void member?.close().then(() => process.exit());
});
process.send?.({ ready: true });
