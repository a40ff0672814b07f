import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { codeOf } from '../environment.ts';
import { ConfigParseError, ConfigSourceError } from '../errors.ts';
import { START } from '../parse/position.ts';
import { MAX_BYTES } from '../parse/parse-document.ts';

/**
 * Reads a regular file, at most as much as is parsed. Errors call it `name`.
 *
 * @throws {@link ConfigSourceError}, {@link ConfigParseError}
 */
export async function readBounded(path: string, name: string): Promise<Buffer> {
  // Without O_NONBLOCK, opening a pipe put in the file's place would wait for its other end for ever.
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK).catch((error: unknown) => {
    throw new ConfigSourceError(name, 'cannot be read', codeOf(error));
  });
  try {
    const stat = await file.stat();
    if (!stat.isFile()) throw new ConfigSourceError(name, 'is not a regular file');
    if (stat.size > MAX_BYTES) throw new ConfigParseError(name, `larger than ${MAX_BYTES} bytes`, START);
    return await file.readFile();
  } finally {
    await file.close();
  }
}
