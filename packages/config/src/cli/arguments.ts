import { parseArgs } from 'node:util';
import { XiaokeError } from '@xiaoke/core';

/** A command line that makes no sense. */
export class UsageError extends XiaokeError {
  static override readonly brand: string = 'xiaoke.ConfigUsageError';

  constructor(problem: string) {
    super('USAGE', `${problem}. See xiaoke-config --help.`);
  }
}

const OPTIONS = {
  file: { type: 'string', multiple: true, short: 'f' },
  format: { type: 'string' },
  remote: { type: 'string' },
  redis: { type: 'string' },
  namespace: { type: 'string' },
  environment: { type: 'string', short: 'e' },
  'env-prefix': { type: 'string' },
  author: { type: 'string' },
  reason: { type: 'string' },
  'if-version': { type: 'string' },
  reveal: { type: 'boolean' },
  json: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const;

/** The values of the command line's options. */
export interface CliValues {
  readonly file?: string[];
  readonly format?: string;
  readonly remote?: string;
  readonly redis?: string;
  readonly namespace?: string;
  readonly environment?: string;
  readonly 'env-prefix'?: string;
  readonly author?: string;
  readonly reason?: string;
  readonly 'if-version'?: string;
  readonly reveal?: boolean;
  readonly json?: boolean;
  readonly help?: boolean;
}

/** Takes a command line apart. */
export function parseCommandLine(args: readonly string[]): { values: CliValues; positionals: string[] } {
  try {
    return parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message.replace(/\.$/, '') : 'Bad arguments');
  }
}
