import { readFile } from 'node:fs/promises';
import { basename, dirname, extname, join, resolve } from 'node:path';
import { InvalidOptionError } from '@xiaoke/core';
import { codeOf } from '../environment.ts';
import { ConfigSourceError } from '../errors.ts';
import { formatOfFile, isConfigFormat, type ConfigFormat } from '../format.ts';
import type { Layer, LayerKind } from '../layer.ts';
import type { ResolvedOptions } from '../options.ts';
import { decodeText, parseDocumentText } from '../parse/parse-document.ts';
import { makeSlot, type SourceSlot } from '../source.ts';
import type { Updates } from '../updates.ts';
import type { FileSourceOptions } from './file-source.ts';

/** What `addFileSource` was given. */
export interface FileRequest {
  readonly path: string;
  readonly format: ConfigFormat | undefined;
  readonly options: FileSourceOptions;
}

/** Loads a file and its overlays; each is a slot of its own. */
export async function addFileSlots(
  request: FileRequest,
  _updates: Updates,
  options: ResolvedOptions,
): Promise<SourceSlot[]> {
  const { path } = request;
  if (typeof path !== 'string' || path === '' || path.includes('\0')) {
    throw new InvalidOptionError('path', 'must be the path of a file');
  }
  const format = request.format ?? formatOfFile(path);
  if (!isConfigFormat(format)) {
    throw new InvalidOptionError('format', 'must be given, since the name of the file does not tell it');
  }
  const slots: SourceSlot[] = [];
  for (const { kind, name, optional } of filesOf(path, format, options.environment, request.options)) {
    const slot = makeSlot(kind, name);
    slot.reload = async () => {
      slot.latest = await loadFile(name, format, kind, optional);
      slot.lastSuccess = options.clock.now();
    };
    await slot.reload();
    slots.push(slot);
  }
  return slots;
}

/** The file itself and its overlays, lowest first. */
export function filesOf(
  path: string,
  format: ConfigFormat,
  environment: string,
  options: FileSourceOptions,
): { readonly kind: LayerKind; readonly name: string; readonly optional: boolean }[] {
  const optional = options.optional ?? false;
  const file = resolve(path);
  const [folder, extension] = [dirname(file), extname(file)];
  const dotted = format === 'dotenv' && extension === '';
  const name = (word: string): string =>
    dotted || extension === ''
      ? `${path}.${word}`
      : join(dirname(path), `${basename(file, extension)}.${word}${extension}`);
  void folder;
  const kinds: readonly [LayerKind, LayerKind, LayerKind] =
    format === 'dotenv' ? ['dotenv', 'dotenv', 'dotenv'] : ['base', 'overlay', 'local'];
  return [
    { kind: kinds[0], name: path, optional },
    { kind: kinds[1], name: name(environment), optional: true },
    { kind: kinds[2], name: name('local'), optional: true },
  ];
}

async function loadFile(
  name: string,
  format: ConfigFormat,
  kind: LayerKind,
  optional: boolean,
): Promise<Layer | undefined> {
  try {
    const text = decodeText(await readFile(name), name);
    const document = parseDocumentText(text, format, name);
    return { kind, name, values: document.values, templates: true, document };
  } catch (error) {
    if (codeOf(error) === 'ENOENT' && optional) return undefined;
    if (codeOf(error).startsWith('E')) throw new ConfigSourceError(name, 'cannot be read', codeOf(error));
    throw error;
  }
}
