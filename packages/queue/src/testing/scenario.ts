import type { QueueManagerOptions } from '../options.ts';
import type { QueueManager } from '../queue-manager.ts';

/** What a scenario is given. */
export interface ConformanceContext {
  /** Makes a manager on a namespace of its own; the same `share` gives the same namespace. It is closed afterwards. */
  manager(options?: QueueManagerOptions, share?: string): Promise<QueueManager>;
}

/** One promise of the queue, with a run that breaks when it does not hold. Throws when it fails. */
export interface ConformanceScenario {
  readonly name: string;
  run(context: ConformanceContext): Promise<void>;
}

/** Fails a scenario. */
export function check(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(message);
}

/** Fails a scenario unless both are the same JSON. */
export function same(actual: unknown, expected: unknown, message: string): void {
  const [a, b] = [JSON.stringify(actual), JSON.stringify(expected)];
  check(a === b, `${message}: expected ${b}, got ${a}`);
}

/** The code of the error that `work` rejects with. */
export async function codeOf(work: () => unknown): Promise<string> {
  try {
    await work();
  } catch (error) {
    return String(Reflect.get(error as object, 'code'));
  }
  return 'no error';
}
