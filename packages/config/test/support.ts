import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach } from 'vitest';
import type { ConfigManager, ConfigManagerOptions } from '@xiaoke/config';
import { createConfigManager } from '@xiaoke/config';

/** Makes managers and folders that are gone after each test. */
export function useManagers(): {
  readonly make: <T = unknown>(options?: ConfigManagerOptions<T>) => Promise<ConfigManager<T>>;
  readonly folder: () => Promise<string>;
  readonly file: (name: string, text: string) => Promise<string>;
} {
  const managers: { close(): Promise<void> }[] = [];
  const folders: string[] = [];
  const folder = async (): Promise<string> => {
    const made = await mkdtemp(join(tmpdir(), 'xiaoke-config-'));
    folders.push(made);
    return made;
  };
  afterEach(async () => {
    await Promise.all(managers.splice(0).map((manager) => manager.close()));
    await Promise.all(folders.splice(0).map((path) => rm(path, { recursive: true, force: true })));
  });
  return {
    make: async (options = {}) => {
      const manager = await createConfigManager({ environment: 'test', env: { variables: {} }, ...options });
      managers.push(manager);
      return manager;
    },
    folder,
    file: async (name, text) => {
      const path = join(await folder(), name);
      await writeFile(path, text);
      return path;
    },
  };
}

/** The error a promise rejects with. */
export async function failure(work: Promise<unknown>): Promise<Error & Record<string, unknown>> {
  try {
    await work;
  } catch (error) {
    if (error instanceof Error) return error as Error & Record<string, unknown>;
  }
  throw new Error('it did not reject');
}
