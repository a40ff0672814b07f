/**
 * A free lock is taken and given back, with one caller and with a hundred. xiaoke gives a fencing token with each; no peer
 * does, so `…, fenced` is a peer with what its user has to add for one: an INCR while the lock is held. `xiaoke` is
 * withLock(), which settles when its release was sent; `xiaoke, confirmed` is acquireLock() and release(), which waits for
 * the answer, as all peers do.
 */
import { startRedis } from '@xiaoke/test-servers';
import { compare, type Figures } from '../harness.ts';
import { contender, contenderNames, type Contender } from './support/contenders.ts';

const MILLISECONDS = 700;
/** The collection before each measurement throws compiled code away, and with it more of whoever has more of it. */
const WARM_UP = 1_000;

type Section = (key: string) => Promise<unknown>;

async function measure(
  section: Section,
  callers: number,
  milliseconds: number = MILLISECONDS,
): Promise<{ rate: number; cpu: number }> {
  const cpu = process.cpuUsage();
  const start = performance.now();
  const end = start + milliseconds;
  let done = 0;
  await Promise.all(
    Array.from({ length: callers }, async (_, caller) => {
      for (let turn = 0; performance.now() < end; turn += 1) {
        await section(`bench:${caller}:${turn % 1000}`);
        done += 1;
      }
    }),
  );
  const used = process.cpuUsage(cpu);
  return { rate: (done / (performance.now() - start)) * 1_000, cpu: (used.user + used.system) / done };
}

await using redis = await startRedis();
const contenders = new Map<string, Contender>();
for (const name of contenderNames) contenders.set(name, await contender(name, redis.url));

const candidate = (section: Section) => async (): Promise<Figures> => {
  await measure(section, 1, WARM_UP);
  const one = await measure(section, 1);
  await measure(section, 100, WARM_UP);
  const hundred = await measure(section, 100);
  return {
    'pairs/s, 1 in flight': one.rate,
    'pairs/s, 100 in flight': hundred.rate,
    'cpu µs/pair, 1 in flight': one.cpu,
    'cpu µs/pair, 100 in flight': hundred.cpu,
  };
};
const sections = new Map<string, Section>([...contenders].map(([name, { section }]) => [name, section]));
sections.set('xiaoke, confirmed', async (key) => await (await contenders.get('xiaoke')?.lock(key))?.());
for (const [name, { fenced }] of contenders)
  if (fenced !== undefined) sections.set(`${name}, fenced`, fenced);
for (const section of sections.values()) await candidate(section)();

await compare({
  name: 'lock/uncontended',
  rounds: 7,
  candidates: Object.fromEntries([...sections].map(([name, section]) => [name, candidate(section)])),
  lowerIsBetter: ['cpu µs/pair, 1 in flight', 'cpu µs/pair, 100 in flight'],
  bars: [
    { figure: 'pairs/s, 1 in flight', versus: 'best peer', atLeast: 1.2 },
    { figure: 'pairs/s, 1 in flight', of: 'xiaoke, confirmed', versus: 'best peer', atLeast: 1 },
    { figure: 'pairs/s, 1 in flight', versus: 'redlock-universal, fenced', atLeast: 1.2 },
    { figure: 'pairs/s, 1 in flight', versus: 'redis-semaphore, fenced', atLeast: 1.2 },
    { figure: 'pairs/s, 100 in flight', versus: 'best peer', atLeast: 1 },
    { figure: 'pairs/s, 100 in flight', of: 'xiaoke, confirmed', versus: 'best peer', atLeast: 1 },
  ],
});
for (const each of contenders.values()) await each.close();
