import { isDeepStrictEqual } from 'node:util';
import { InvalidOptionError, withTimeout, type Timer } from '@xiaoke/core';
import type { ChangeCause } from './change.ts';
import { ConfigError, ConfigInvalidError, ConfigParseError, ConfigSourceError } from './errors.ts';
import { readEnvironment, sameEnvironment } from './environment.ts';
import { openFiles, type FileContext, type FileSourceOptions } from './file/file-slots.ts';
import type { FileWatch } from './file/file-watch.ts';
import { FolderWatch } from './file/folder-watch.ts';
import { NamedFiles } from './file/named-files.ts';
import type { ConfigFormat } from './format.ts';
import type { RemoteSourceOptions } from './http/remote-options.ts';
import { RemoteSource, resolveRemote } from './http/remote-source.ts';
import type { LastGood } from './last-good.ts';
import type { Layer } from './layer.ts';
import type { ResolvedOptions } from './options.ts';
import { formatPath } from './path.ts';
import { PlainValueProblem, toPlainDocument } from './plain-value.ts';
import { makeSlot, type ConfigSource, type SourceSlot } from './source.ts';
import type { Updates } from './updates.ts';

/** The sources that were added, and how each comes in and goes. */
export class SourceSet {
  readonly #updates: Updates;
  readonly #options: ResolvedOptions;
  readonly #lastGood: LastGood;
  readonly #folders: FolderWatch;
  readonly #watched = new Set<FileWatch>();
  /** The variables of the process. */
  readonly environment: SourceSlot;
  readonly #files: FileContext;
  readonly #named: NamedFiles;
  #safetyPoll: Timer | undefined;

  constructor(updates: Updates, options: ResolvedOptions, lastGood: LastGood) {
    this.#updates = updates;
    this.#options = options;
    this.#lastGood = lastGood;
    this.#folders = new FolderWatch(options.clock, options.logger);
    const read = (): Layer => readEnvironment(options.env);
    this.environment = makeSlot('environment', 'environment', read());
    this.environment.reload = async () => void (this.environment.latest = read());
    this.#files = { updates, options, folders: this.#folders, watched: this.#watched };
    this.#named = new NamedFiles(this.environment, this.#files);
  }

  /** Watches the files that variables name; called after each update, since others may be named now. */
  followNamedFiles(): void {
    if (this.#named.follow()) this.#startSafetyPoll();
  }

  async addFile(path: string, format: ConfigFormat | undefined, options: FileSourceOptions): Promise<void> {
    const slots = await openFiles({ path, format, options }, this.#files);
    this.#startSafetyPoll();
    await this.#admit(slots, 'file');
  }

  async setRemote(url: string | URL, options: RemoteSourceOptions): Promise<void> {
    const context = { options: this.#options, updates: this.#updates, lastGood: this.#lastGood };
    const remote = new RemoteSource(resolveRemote(url, options), context);
    await remote.start();
    const { engine } = this.#updates;
    const before = engine.slots.find((slot) => slot.kind === 'remote');
    try {
      await this.#admit([remote.slot], 'remote', before);
    } catch (error) {
      // A document that is not valid is no reason not to start, where an earlier one was.
      if (!(error instanceof ConfigInvalidError) || !remote.fallBack(error)) throw error;
      await this.#admit([remote.slot], 'remote', before);
    }
    await before?.close?.();
    remote.poll();
  }

  async addCustom(source: ConfigSource): Promise<void> {
    if (typeof source?.load !== 'function' || typeof source.name !== 'string') {
      throw new InvalidOptionError('source', 'must have a name and a load() function');
    }
    const slot = makeSlot('source', source.name);
    const controller = new AbortController();
    slot.reload = async () => {
      const values = readValues(await this.#loadCustom(source, controller.signal), source.name);
      slot.latest = { kind: 'source', name: source.name, values };
      slot.lastSuccess = this.#options.clock.now();
    };
    slot.close = () => controller.abort();
    await slot.reload();
    let [admitted, early] = [false, false];
    const onChange = (): void => {
      if (admitted) this.#again(slot);
      early = true;
    };
    const stop = await this.#bounded(source, async () => await source.watch?.(onChange));
    slot.close = () => {
      controller.abort();
      stop?.();
    };
    await this.#admit([slot], 'source');
    admitted = true;
    if (early) this.#again(slot);
  }

  /** Loads everything again; throws what is wrong. */
  async reload(): Promise<void> {
    const { serial, engine } = this.#updates;
    await serial.run(async () => {
      const slots = engine.slots.filter((slot) => slot.reload !== undefined);
      const results = await Promise.allSettled(slots.map(async (slot) => await this.#load(slot)));
      const failed = results.find((result) => result.status === 'rejected');
      if (failed !== undefined) throw failed.reason;
      const changed = slots.filter(hasNews);
      const causes = new Map(changed.map((slot) => [slot, causeOf(slot)] as const));
      const error = await this.#updates.settle(causes, engine.current.version);
      if (error !== undefined) throw error;
      if (!engine.ready) throw await this.#missing();
    });
  }

  async #load(slot: SourceSlot): Promise<void> {
    try {
      await slot.reload?.();
    } catch (error) {
      if (error instanceof ConfigError) this.#updates.fail(slot, error, causeOf(slot));
      throw error;
    }
  }

  async close(): Promise<void> {
    this.#safetyPoll?.cancel();
    this.#named.close();
    await this.#folders.close();
    await Promise.allSettled(this.#updates.engine.slots.map(async (slot) => await slot.close?.()));
  }

  /** Finds what no event told: on network file systems, after an overflow, where folders cannot be watched. */
  #startSafetyPoll(): void {
    const { clock, safetyPoll } = this.#options;
    this.#safetyPoll ??= clock
      .setInterval(() => {
        for (const file of this.#watched) file.poll();
      }, safetyPoll)
      .unref();
  }

  /** Makes slots part of the configuration, or takes them out again and throws what is wrong. */
  async #admit(slots: readonly SourceSlot[], kind: ChangeCause['kind'], instead?: SourceSlot): Promise<void> {
    const { serial, engine } = this.#updates;
    await serial.run(async () => {
      if (instead !== undefined) engine.slots.splice(engine.slots.indexOf(instead), 1);
      engine.slots.push(...slots);
      // An overlay that is not there changes nothing, and is no entry of the history.
      const present = slots.filter((slot) => slot.latest !== undefined);
      const causes = new Map(present.map((slot) => [slot, { kind, source: slot.name }] as const));
      const error = await this.#updates.settle(causes, engine.current.version, { first: true });
      if (error === undefined) return;
      for (const slot of slots) engine.slots.splice(engine.slots.indexOf(slot), 1);
      if (instead !== undefined) engine.slots.push(instead);
      else if (kind !== 'remote') await Promise.all(slots.map(async (slot) => await slot.close?.()));
      this.#updates.checkState();
      throw error;
    });
  }

  async #loadCustom(source: ConfigSource, signal: AbortSignal): Promise<unknown> {
    const limit = new AbortController();
    try {
      return await this.#bounded(source, () =>
        source.load({ signal: AbortSignal.any([signal, limit.signal]) }),
      );
    } finally {
      limit.abort();
    }
  }

  async #bounded<R>(source: ConfigSource, work: () => Promise<R>): Promise<R> {
    const { clock, sourceTimeout } = this.#options;
    try {
      const running = Promise.resolve().then(work);
      return await withTimeout(running, sourceTimeout, 'loading', { clock, ref: false });
    } catch (error) {
      if (error instanceof ConfigError) throw error;
      // The error is the author's and may quote anything; only its kind is told.
      const reason = error instanceof Error ? error.constructor.name : typeof error;
      throw new ConfigSourceError(source.name, `could not be loaded (${reason})`, reason);
    }
  }

  #again(slot: SourceSlot): void {
    const { background, closed } = this.#updates;
    if (closed) return;
    const cause: ChangeCause = { kind: 'source', source: slot.name };
    background.run(async () => {
      try {
        await slot.reload?.();
        this.#updates.offer(slot, slot.latest, cause);
      } catch (error) {
        if (!(error instanceof ConfigError)) throw error;
        this.#updates.fail(slot, error, cause);
      }
    }, 'load a configuration source again');
  }

  async #missing(): Promise<ConfigError> {
    const proposal = await this.#updates.engine.propose(new Map(), 0);
    return new ConfigInvalidError('issues' in proposal ? proposal.issues : []);
  }
}

function causeOf({ kind, name: source }: SourceSlot): ChangeCause {
  const own = kind === 'remote' || kind === 'source' || kind === 'environment';
  return { kind: own ? kind : 'file', source };
}

/** Whether a slot holds something else than what of it is in force. */
function hasNews({ latest, accepted }: SourceSlot): boolean {
  const [now, before] = [latest?.environment, accepted?.environment];
  if (now !== undefined && before !== undefined) return !sameEnvironment(now, before);
  const content = (layer: Layer | undefined): unknown => layer?.document?.text ?? layer?.values;
  return !isDeepStrictEqual(content(latest), content(accepted));
}

function readValues(values: unknown, name: string): ReturnType<typeof toPlainDocument> {
  try {
    return toPlainDocument(values);
  } catch (error) {
    if (!(error instanceof PlainValueProblem)) throw error;
    const where = error.path.length === 0 ? '' : ` at "${formatPath(error.path)}"`;
    throw new ConfigParseError(name, error.message + where);
  }
}
