import { basename, dirname, extname, join, resolve } from 'node:path';
import { InvalidOptionError } from '@xiaoke/core';
import type { ChangeCause } from '../change.ts';
import { ConfigError } from '../errors.ts';
import { formatOfFile, isConfigFormat, type ConfigFormat } from '../format.ts';
import type { Layer, LayerKind } from '../layer.ts';
import type { ResolvedOptions } from '../options.ts';
import { decodeText, parseDocumentText } from '../parse/parse-document.ts';
import { makeSlot, type SourceSlot } from '../source.ts';
import type { Updates } from '../updates.ts';
import { FileWatch } from './file-watch.ts';
import type { FolderWatch } from './folder-watch.ts';
import { isMountPoint } from './mount-point.ts';

/** How a file is watched. */
export interface FileSourceOptions {
  /** @default true */
  readonly watch?: boolean;
  /** Whether the file may be missing, now and later. @default false */
  readonly optional?: boolean;
}

/** What `addFileSource` was given. */
export interface FileRequest {
  readonly path: string;
  readonly format: ConfigFormat | undefined;
  readonly options: FileSourceOptions;
}

/** What the files of one manager share. */
export interface FileContext {
  readonly updates: Updates;
  readonly options: ResolvedOptions;
  readonly folders: FolderWatch;
  /** The files to look at from time to time. */
  readonly watched: Set<FileWatch>;
}

/** Loads a file and its overlays and watches them; each is a slot of its own. */
export async function openFiles(request: FileRequest, context: FileContext): Promise<SourceSlot[]> {
  const { path } = request;
  if (typeof path !== 'string' || path === '' || path.includes('\0')) {
    throw new InvalidOptionError('path', 'must be the path of a file');
  }
  const format = request.format ?? formatOfFile(path);
  if (!isConfigFormat(format)) {
    throw new InvalidOptionError('format', 'must be given, since the name of the file does not tell it');
  }
  const files = filesOf(path, format, context.options.environment, request.options.optional ?? false);
  const watch = request.options.watch ?? true;
  const opened = files.map((file) => new FileSlot({ ...file, format, watch }, context));
  try {
    await Promise.all(opened.map((file) => file.open()));
  } catch (error) {
    for (const file of opened) file.close();
    throw error;
  }
  return opened.map(({ slot }) => slot);
}

interface SlotFile {
  readonly kind: LayerKind;
  readonly name: string;
  readonly optional: boolean;
}

/** The file itself, its overlay for the environment and the local one, lowest first. */
function filesOf(path: string, format: ConfigFormat, environment: string, optional: boolean): SlotFile[] {
  const extension = extname(path);
  // `.env` has no extension; its overlays are `.env.production` and `.env.local`.
  const bare = extension === '' || basename(path).startsWith('.env');
  const overlay = (word: string): string =>
    bare ? `${path}.${word}` : join(dirname(path), `${basename(path, extension)}.${word}${extension}`);
  const dotenv = format === 'dotenv';
  return [
    { kind: dotenv ? 'dotenv' : 'base', name: path, optional },
    { kind: dotenv ? 'dotenv' : 'overlay', name: overlay(environment), optional: true },
    { kind: dotenv ? 'dotenv' : 'local', name: overlay('local'), optional: true },
  ];
}

class FileSlot {
  readonly slot: SourceSlot;
  readonly #file: SlotFile & { readonly format: ConfigFormat; readonly watch: boolean };
  readonly #context: FileContext;
  readonly #watch: FileWatch;
  readonly #cause: ChangeCause;

  constructor(
    file: SlotFile & { readonly format: ConfigFormat; readonly watch: boolean },
    context: FileContext,
  ) {
    const { options, folders, updates, watched } = context;
    this.#file = file;
    this.#context = context;
    this.#cause = { kind: 'file', source: file.name };
    this.slot = makeSlot(file.kind, file.name);
    this.slot.reload = () => this.#load(() => this.#watch.load());
    this.slot.close = () => this.close();
    this.#watch = new FileWatch({
      path: resolve(file.name),
      name: file.name,
      optional: file.optional,
      settle: options.settle,
      folders: file.watch ? folders : undefined,
      clock: options.clock,
      logger: options.logger,
      host: {
        onContent: (bytes, final) => this.#onContent(bytes, final),
        onGone: () => updates.offer(this.slot, undefined, this.#cause),
        onProblem: (error) => updates.fail(this.slot, error, this.#cause),
        reading: (work) => this.#reading(work),
      },
    });
    if (file.watch) watched.add(this.#watch);
  }

  async open(): Promise<void> {
    await this.#load(() => this.#watch.start());
    if (this.slot.latest === undefined || !this.#file.watch || !(await isMountPoint(this.#file.name))) return;
    this.slot.note = 'the file is itself a mount, so a file renamed into its place outside is not seen here';
    this.#context.options.logger.warn(
      { file: this.#file.name },
      `${this.slot.note}; mount its folder instead`,
    );
  }

  close(): void {
    this.#context.watched.delete(this.#watch);
    this.#watch.close();
  }

  async #load(read: () => Promise<Buffer | undefined>): Promise<void> {
    const bytes = await read();
    this.slot.latest = bytes && this.#parse(bytes);
    this.slot.lastSuccess = this.#context.options.clock.now();
  }

  #onContent(bytes: Buffer, final: boolean): boolean {
    const { updates } = this.#context;
    try {
      updates.offer(this.slot, this.#parse(bytes), this.#cause);
      return true;
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      if (final) updates.fail(this.slot, error, this.#cause);
      return false;
    }
  }

  #parse(bytes: Buffer): Layer {
    const { kind, name, format } = this.#file;
    const document = parseDocumentText(decodeText(bytes, name), format, name);
    if (format === 'dotenv') return { kind, name, document };
    return { kind, name, values: document.values, templates: true, document };
  }

  #reading(work: Promise<unknown>): void {
    const { reading } = this.#context.updates;
    reading.add(work);
    const done = (): void => void reading.delete(work);
    work.then(done, done);
  }
}
