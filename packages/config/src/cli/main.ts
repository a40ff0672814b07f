import { XiaokeError } from '@xiaoke/core';
import { createConfigManager } from '../create.ts';
import type { EnvVariables } from '../env-mapping.ts';
import { ConfigInvalidError } from '../errors.ts';
import { isConfigFormat, type ConfigFormat } from '../format.ts';
import type { ConfigManager } from '../manager.ts';
import { parseCommandLine, UsageError, type CliValues } from './arguments.ts';
import { COMMANDS, type CommandResult } from './commands.ts';

/** Where a run reads from and writes to. */
export interface CliStreams {
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  readonly variables: EnvVariables;
  /** Whether somebody looks at the output; only then secrets may be shown. */
  readonly terminal: boolean;
}

/** Exit codes: everything else follows from them in a script. */
export const EXIT = { ok: 0, invalid: 1, usage: 2, conflict: 3, unreachable: 4 } as const;

const HELP = `xiaoke-config <command> [options]

  get [path]                 the value in force, or the whole configuration
  set <path> <value>         a JSON value, or else text
  unset <path>
  diff <from> <to>           what differs between two versions
  history                    versions, newest first
  rollback <version>
  validate                   load everything and report all that is wrong
  explain <path>             where a value comes from and what it hid
  export                     the values set at run time, as JSON
  import <file>              sets every value of a document, in one version

Sources: -f, --file <path> (repeatable), --format, --remote <url>, --redis <url>, --namespace, -e, --environment, --env-prefix
Changes: --author, --reason, --if-version <n>
Output:  --json, --reveal (secrets, on a terminal only)
Exit:    0 fine, 1 not valid, 2 usage, 3 conflict, 4 unreachable
`;

/** Runs one command; resolves to the exit code. */
export async function runCli(args: readonly string[], streams: CliStreams): Promise<number> {
  let json = false;
  try {
    const { values, positionals } = parseCommandLine(args);
    json = values.json === true;
    const [name = '', ...rest] = positionals;
    if (values.help === true || name === '') {
      streams.out(HELP);
      return values.help === true ? EXIT.ok : EXIT.usage;
    }
    const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
    if (command === undefined) throw new UsageError(`There is no command "${name}"`);
    if (values.reveal === true && !streams.terminal) throw new UsageError('--reveal needs a terminal');
    const config = await open(values, streams);
    try {
      print(await command({ config, args: rest, values }), json, streams);
      return EXIT.ok;
    } finally {
      await config.close({ timeout: '2s' });
    }
  } catch (error) {
    return report(error, json, streams);
  }
}

async function open(values: CliValues, streams: CliStreams): Promise<ConfigManager> {
  const { variables } = streams;
  const redis = values.redis ?? (variables['REDIS_URL'] || undefined);
  const environment = values.environment ?? (variables['NODE_ENV'] || undefined);
  const prefix = values['env-prefix'];
  const config = await createConfigManager({
    ...(redis === undefined ? {} : { redis }),
    ...(values.namespace === undefined ? {} : { namespace: values.namespace }),
    ...(environment === undefined ? {} : { environment }),
    env: { variables, ...(prefix === undefined ? {} : { prefix }) },
  });
  try {
    for (const file of values.file ?? [])
      await config.addFileSource(file, formatOf(values), { watch: false });
    if (values.remote !== undefined) await config.setRemoteSource(values.remote);
    return config;
  } catch (error) {
    await config.close();
    throw error;
  }
}

function formatOf(values: CliValues): ConfigFormat | undefined {
  const { format } = values;
  if (format === undefined || isConfigFormat(format)) return format;
  throw new UsageError('--format must be json, yaml, toml or dotenv');
}

function print(result: CommandResult, json: boolean, streams: CliStreams): void {
  streams.out(json ? `${JSON.stringify(result.data)}\n` : `${result.text}\n`);
}

function report(error: unknown, json: boolean, streams: CliStreams): number {
  const code = error instanceof XiaokeError ? error.code : 'INTERNAL';
  const message = error instanceof Error ? error.message : 'Something went wrong';
  const issues = error instanceof ConfigInvalidError ? { issues: error.issues } : {};
  if (json) streams.out(`${JSON.stringify({ error: { code, message, ...issues } })}\n`);
  else streams.err(`${message}\n`);
  if (error instanceof UsageError || code === 'INVALID_OPTION') return EXIT.usage;
  if (code === 'CONFIG_CONFLICT') return EXIT.conflict;
  if (code === 'CONFIG_STORE_UNAVAILABLE') return EXIT.unreachable;
  return code === 'CONFIG_SOURCE' && isRemote(error) ? EXIT.unreachable : EXIT.invalid;
}

function isRemote(error: unknown): boolean {
  return error instanceof XiaokeError && /^https?:/.test(String(error.details['source']));
}
