// What isolated handlers may do, well and badly; the payload says which.
import { isMainThread, threadId } from 'node:worker_threads';
import { setTimeout as sleep } from 'node:timers/promises';

let calls = 0;

export default async function chores(payload, context) {
  calls += 1;
  switch (payload.do) {
    case 'where':
      return { pid: process.pid, isMainThread, threadId, calls, env: process.env.XIAOKE_TEST_MARK };
    case 'context': {
      context.progress({ percent: 50 });
      context.log('a line');
      context.logger.info({ n: 1 }, 'hello');
      const { id, name, queue, attempt, maxAttempts, enqueuedAt, fencingToken } = context;
      return { id, name, queue, attempt, maxAttempts, enqueuedAt, fencingToken, payload };
    }
    case 'block': {
      const end = Date.now() + payload.for;
      while (Date.now() < end);
      return 'blocked';
    }
    case 'spin':
      for (;;);
    case 'listen':
      await sleep(60_000, undefined, { signal: context.signal }).catch(() => {});
      throw Object.assign(new Error('stopped in order'), { code: context.signal.reason.code });
    case 'hoard': {
      const hoard = [];
      for (;;) hoard.push(Array.from({ length: 100_000 }, (_, index) => ({ index })));
    }
    case 'exit':
      process.exit(3);
      break;
    case 'throw':
      throw Object.assign(new Error('no luck'), payload.error);
    case 'unserializable':
      return { self: 1n };
    case 'children':
      return [...(await context.childResults()).values()];
    default:
      return 'nothing';
  }
}
