import { rename, rm, writeFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { silentLogger, systemClock } from '@xiaoke/core';
import { eventually } from '@xiaoke/core/testing';
import { FileWatch } from '../src/file/file-watch.ts';
import { useManagers } from './support.ts';

const { file } = useManagers();

describe('a file of which no event is told, as on a network file system,', () => {
  it('is followed by looking from time to time, and not read as long as nothing happens', async () => {
    const path = await file('app.json', 'one');
    const seen: string[] = [];
    const troubles: string[] = [];
    const watch = new FileWatch({
      path,
      name: path,
      optional: false,
      settle: 20,
      folders: undefined,
      clock: systemClock,
      logger: silentLogger,
      host: {
        onContent: (bytes) => seen.push(bytes.toString()) > 0,
        onGone: () => {},
        onProblem: ({ code }) => troubles.push(code),
        reading: () => {},
      },
    });
    expect((await watch.start())?.toString()).toBe('one');
    const poll = setInterval(() => watch.poll(), 10);
    await writeFile(path, 'two');
    await eventually(() => seen.at(-1) === 'two');
    await writeFile(`${path}.new`, 'three');
    await rename(`${path}.new`, path);
    await eventually(() => seen.at(-1) === 'three');
    await rm(path);
    await eventually(() => troubles.at(-1) === 'CONFIG_SOURCE');
    await writeFile(path, 'four');
    await eventually(() => seen.at(-1) === 'four');
    clearInterval(poll);
    watch.close();
    watch.poll();
    expect(seen).toEqual(['two', 'three', 'four']);
  });
});
