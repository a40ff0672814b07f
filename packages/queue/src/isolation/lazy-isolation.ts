import { QueueError } from '../errors.ts';
import type { ActiveTask } from '../worker/active-task.ts';
import type { RegisteredHandler } from '../worker/handlers.ts';
import type { IsolationRunner } from '../worker/runner.ts';

/** Loads what runs isolated handlers when the first one is run. */
export class LazyIsolation implements IsolationRunner {
  run(handler: RegisteredHandler, _task: ActiveTask): Promise<unknown> {
    return Promise.reject(
      new QueueError('UNSUPPORTED', `Handler "${handler.name}" cannot run isolated here`),
    );
  }

  async close(): Promise<void> {}
}
