/** The same configuration of 400 values, held by each library in its own way. */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createConfigManager } from '@xiaoke/config';

/** The tree: twenty sections of four groups of five values. */
export function makeTree(): Record<string, Record<string, Record<string, number | string>>> {
  const group = (section: number, number: number): Record<string, number | string> =>
    Object.fromEntries(
      Array.from({ length: 5 }, (_, key) => [
        `key${key}`,
        key % 2 === 0 ? section * number + key : `text ${key}`,
      ]),
    );
  const section = (number: number): Record<string, Record<string, number | string>> =>
    Object.fromEntries(Array.from({ length: 4 }, (_, index) => [`group${index}`, group(number, index)]));
  return Object.fromEntries(Array.from({ length: 20 }, (_, index) => [`section${index}`, section(index)]));
}

/** What is asked for, in turn. */
export const PATHS: readonly string[] = [
  'section0.group0.key0',
  'section3.group1.key2',
  'section7.group2.key4',
  'section11.group3.key1',
  'section15.group0.key3',
  'section19.group2.key0',
];

/** Reads one value by its path. */
export type Read = (path: string) => unknown;

interface ConvictSchema {
  [key: string]: ConvictSchema | { doc: string; format: string; default: unknown };
}

function schemaOf(tree: object): ConvictSchema {
  return Object.fromEntries(
    Object.entries(tree).map(([key, value]: [string, unknown]) => [
      key,
      typeof value === 'object' && value !== null
        ? schemaOf(value)
        : { doc: '', format: '*', default: value },
    ]),
  );
}

/** Each library's way to read by path, set up. */
export async function readers(): Promise<Readonly<Record<string, Read>>> {
  const tree = makeTree();
  const config = await createConfigManager({ defaults: tree });
  process.env['NODE_CONFIG_DIR'] = mkdtempSync(join(tmpdir(), 'bench-config-'));
  process.env['NODE_CONFIG'] = JSON.stringify(tree);
  process.env['SUPPRESS_NO_CONFIG_WARNING'] = '1';
  const nodeConfig = (await import('config')).default as unknown as { get: Read };
  const { default: makeConvict } = (await import('convict')) as unknown as {
    default: (schema: ConvictSchema) => { get: Read };
  };
  const convict = makeConvict(schemaOf(tree));
  const nconf = (await import('nconf')).default as { defaults(values: object): void; get: Read };
  nconf.defaults(tree);
  await import('reflect-metadata');
  const nest = (await import('@nestjs/config')) as unknown as {
    ConfigService: new (values: object) => { get: Read; isCacheEnabled: boolean };
  };
  const service = new nest.ConfigService(tree);
  const cached = new nest.ConfigService(tree);
  cached.isCacheEnabled = true;
  const colons = new Map(PATHS.map((path) => [path, path.replaceAll('.', ':')]));
  return {
    xiaoke: (path) => config.get(path),
    'node-config': (path) => nodeConfig.get(path),
    convict: (path) => convict.get(path),
    '@nestjs/config': (path) => service.get(path),
    '@nestjs/config, cached': (path) => cached.get(path),
    nconf: (path) => nconf.get(colons.get(path) ?? path),
  };
}
