import type { ChangeCause } from '../change.ts';
import { readEnvironment, sameEnvironment } from '../environment.ts';
import { ConfigError } from '../errors.ts';
import type { SourceSlot } from '../source.ts';
import type { FileContext } from './file-slots.ts';
import { FileWatch } from './file-watch.ts';

/** Follows the files that variables name (`APP_DB__PASSWORD_FILE`), so that a rotated secret comes into force by itself. */
export class NamedFiles {
  readonly #slot: SourceSlot;
  readonly #context: FileContext;
  readonly #watches = new Map<string, FileWatch>();

  constructor(slot: SourceSlot, context: FileContext) {
    this.#slot = slot;
    this.#context = context;
  }

  /** Watches what is named now, and nothing else; gives whether there is anything. */
  follow(): boolean {
    const named = new Set(this.#slot.accepted?.environment?.files);
    for (const path of [...this.#watches.keys()].filter((known) => !named.has(known))) this.#drop(path);
    for (const path of named) if (!this.#watches.has(path)) this.#watch(path);
    return named.size > 0;
  }

  close(): void {
    for (const path of this.#watches.keys()) this.#drop(path);
  }

  #watch(path: string): void {
    const { updates, options, folders, watched } = this.#context;
    const cause: ChangeCause = { kind: 'environment', source: path };
    const watch = new FileWatch({
      path,
      name: path,
      optional: false,
      settle: options.settle,
      folders,
      clock: options.clock,
      logger: options.logger,
      host: {
        onContent: () => {
          updates.offer(this.#slot, readEnvironment(options.env), cause);
          return true;
        },
        onGone: () => {},
        onProblem: (error) => updates.fail(this.#slot, error, cause),
        reading: () => {},
      },
    });
    this.#watches.set(path, watch);
    watched.add(watch);
    updates.background.run(async () => {
      await watch.start().catch((error: unknown) => {
        if (!(error instanceof ConfigError)) throw error;
      });
      // It may have changed before it was watched.
      const now = readEnvironment(options.env);
      const { environment: before } = this.#slot.accepted ?? {};
      const same = before === undefined || (now.environment && sameEnvironment(now.environment, before));
      if (same !== true) updates.offer(this.#slot, now, cause);
    }, 'watch a file that a variable names');
  }

  #drop(path: string): void {
    const watch = this.#watches.get(path);
    this.#watches.delete(path);
    if (watch === undefined) return;
    this.#context.watched.delete(watch);
    watch.close();
  }
}
