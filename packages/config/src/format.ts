import { basename } from 'node:path';

/** The formats of documents. */
export const ConfigFormat: {
  readonly JSON: 'json';
  readonly YAML: 'yaml';
  readonly TOML: 'toml';
  readonly DOTENV: 'dotenv';
} = { JSON: 'json', YAML: 'yaml', TOML: 'toml', DOTENV: 'dotenv' } as const;

/** One of {@link ConfigFormat}'s values. */
export type ConfigFormat = (typeof ConfigFormat)[keyof typeof ConfigFormat];

const EXTENSIONS: Readonly<Record<string, ConfigFormat>> = {
  json: 'json',
  yaml: 'yaml',
  yml: 'yaml',
  toml: 'toml',
  env: 'dotenv',
};

/** Whether `value` names a format. */
export function isConfigFormat(value: unknown): value is ConfigFormat {
  return Object.values<unknown>(ConfigFormat).includes(value);
}

/** The format that a file's name tells, if it tells one: by its extension, and `.env`, `.env.*` for variables. */
export function formatOfFile(path: string): ConfigFormat | undefined {
  const name = basename(path);
  if (name === '.env' || name.startsWith('.env.')) return 'dotenv';
  const dot = name.lastIndexOf('.');
  return dot < 0 ? undefined : EXTENSIONS[name.slice(dot + 1).toLowerCase()];
}

/** The format that an HTTP content type tells. */
export function formatOfContentType(type: string | null): ConfigFormat | undefined {
  const media = (type ?? '').split(';')[0]?.trim().toLowerCase() ?? '';
  if (media.endsWith('/json') || media.endsWith('+json')) return 'json';
  if (media.endsWith('yaml')) return 'yaml';
  return media.endsWith('toml') ? 'toml' : undefined;
}
