import { QueueError } from '../errors.ts';
import type { RegisteredHandler } from '../worker/handlers.ts';
import type { IsolationRunner } from '../worker/runner.ts';
import type { IsolatedRun, IsolationOptions, IsolationPools } from './isolation-pools.ts';

/** Loads what runs isolated handlers when the first one is run. */
export class LazyIsolation implements IsolationRunner {
  readonly #options: IsolationOptions;
  #pools: Promise<IsolationPools> | undefined;

  constructor(options: IsolationOptions) {
    this.#options = options;
  }

  async run(handler: RegisteredHandler, run: IsolatedRun): Promise<unknown> {
    if (handler.isolated === undefined)
      throw new QueueError('HANDLER_NOT_FOUND', `"${handler.name}" names no module`);
    this.#pools ??= this.#load();
    return await (await this.#pools).run(handler, handler.isolated, run);
  }

  /** Kills what still runs. */
  async close(timeoutMs: number): Promise<void> {
    await (await this.#pools)?.close(timeoutMs);
  }

  async #load(): Promise<IsolationPools> {
    const { IsolationPools } = await import('./isolation-pools.ts');
    return new IsolationPools(this.#options);
  }
}
