import { XiaokeError, type XiaokeErrorOptions } from '@xiaoke/core';

/** The codes of every error of this package. */
export type ConfigErrorCode =
  | 'CONFIG_PARSE'
  | 'CONFIG_SOURCE'
  | 'CONFIG_INVALID'
  | 'CONFIG_KEY_MISSING'
  | 'CONFIG_SHADOWED'
  | 'CONFIG_CONFLICT'
  | 'CONFIG_VETOED'
  | 'CONFIG_VERSION_NOT_FOUND'
  | 'CONFIG_STORE_UNAVAILABLE'
  | 'CONFIG_CANARY'
  | 'CONFIG_CLOSED';

/** The base of this package's errors. Neither messages nor details ever hold a configured value. */
export class ConfigError extends XiaokeError {
  static override readonly brand: string = 'xiaoke.ConfigError';
  declare readonly code: ConfigErrorCode;

  // The base class takes any code; this one only those of the table.
  constructor(code: ConfigErrorCode, message: string, options: XiaokeErrorOptions = {}) {
    super(code, message, options);
  }
}

/** Where in a document something stands; lines and columns count from 1. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

/** A document that cannot be read as its format, or that breaks a rule every document must keep. */
export class ConfigParseError extends ConfigError {
  static override readonly brand: string = 'xiaoke.ConfigParseError';
  /** The file or URL. */
  readonly source: string;
  readonly line: number | undefined;
  readonly column: number | undefined;

  constructor(source: string, problem: string, position?: Position) {
    const at = position === undefined ? source : `${source}:${position.line}:${position.column}`;
    super('CONFIG_PARSE', `${at}: ${problem}`, { details: { source, ...position, problem } });
    this.source = source;
    this.line = position?.line;
    this.column = position?.column;
  }
}

/** A source that could not be loaded: a missing file, a refused request, a callback that threw. */
export class ConfigSourceError extends ConfigError {
  static override readonly brand: string = 'xiaoke.ConfigSourceError';
  readonly source: string;

  constructor(source: string, problem: string, reason?: string) {
    super('CONFIG_SOURCE', `${source}: ${problem}`, { details: { source, problem, reason } });
    this.source = source;
  }
}

/** One thing that is wrong with a configuration. */
export interface ConfigIssue {
  /** What kind of wrong: a name without a value, text of the wrong type, two layers that clash, the schema's word. */
  readonly kind: 'unresolved' | 'interpolation' | 'type' | 'clash' | 'mapping' | 'schema';
  /** The path of the value, empty for the root. */
  readonly path: string;
  /** What is wrong, without the value. */
  readonly message: string;
  /** The layer the value came from. */
  readonly source?: string;
  readonly line?: number;
  readonly column?: number;
}

/** A configuration that was refused as a whole; the last good one stays in force. */
export class ConfigInvalidError extends ConfigError {
  static override readonly brand: string = 'xiaoke.ConfigInvalidError';
  /** Everything that is wrong, not only the first thing. */
  readonly issues: readonly ConfigIssue[];

  constructor(issues: readonly ConfigIssue[]) {
    const lines = issues.map((issue) => `  ${describeIssue(issue)}`).join('\n');
    super('CONFIG_INVALID', `The configuration is not valid:\n${lines}`, { details: { issues } });
    this.issues = Object.freeze([...issues]);
  }
}

function describeIssue(issue: ConfigIssue): string {
  const line = issue.line === undefined ? '' : `:${issue.line}`;
  const from = issue.source === undefined ? '' : ` (${issue.source}${line})`;
  return `${issue.path === '' ? 'the whole' : issue.path}: ${issue.message}${from}`;
}

/** `require()` of a path that has no value. */
export class ConfigKeyError extends ConfigError {
  static override readonly brand: string = 'xiaoke.ConfigKeyError';

  constructor(path: string) {
    super('CONFIG_KEY_MISSING', `There is no configuration at "${path}"`, { details: { path } });
  }
}

/** A `set` that would have no effect, because an environment variable pins the path. */
export class ShadowedError extends ConfigError {
  static override readonly brand: string = 'xiaoke.ShadowedError';

  constructor(path: string, by: string) {
    super('CONFIG_SHADOWED', `"${path}" is pinned by ${by}`, { details: { path, by } });
  }
}

/** Somebody else committed first: `details.currentVersion` is what is in force now. */
export class ConflictError extends ConfigError {
  static override readonly brand: string = 'xiaoke.ConfigConflictError';
  readonly currentVersion: number;

  constructor(expected: number, currentVersion: number) {
    super('CONFIG_CONFLICT', `Version ${expected} was expected, but version ${currentVersion} is in force`, {
      details: { expected, currentVersion },
    });
    this.currentVersion = currentVersion;
  }
}

/** A guard refused the change. */
export class GuardVetoError extends ConfigError {
  static override readonly brand: string = 'xiaoke.GuardVetoError';

  /** @param reason - the guard's own words; they are the author's responsibility */
  constructor(path: string, reason: string) {
    super('CONFIG_VETOED', `The guard of "${path}" refused the change: ${reason}`, {
      details: { path, reason },
    });
  }
}

/** A version that does not exist, or is no longer kept. */
export class VersionNotFoundError extends ConfigError {
  static override readonly brand: string = 'xiaoke.VersionNotFoundError';

  constructor(version: number) {
    super('CONFIG_VERSION_NOT_FOUND', `Version ${version} does not exist or is no longer kept`, {
      details: { version },
    });
  }
}

/** The shared store did not answer; `details.operation` says what was asked of it. */
export class StoreUnavailableError extends ConfigError {
  static override readonly brand: string = 'xiaoke.StoreUnavailableError';

  constructor(operation: string, reason: string) {
    super('CONFIG_STORE_UNAVAILABLE', `The store did not answer (${operation}): ${reason}`, {
      details: { operation, reason },
    });
  }
}

/** A canary that cannot start or go on. */
export class CanaryError extends ConfigError {
  static override readonly brand: string = 'xiaoke.CanaryError';

  constructor(problem: string) {
    super('CONFIG_CANARY', problem, { details: { problem } });
  }
}

/** A change asked of a manager that is closed. Reading goes on. */
export class ConfigClosedError extends ConfigError {
  static override readonly brand: string = 'xiaoke.ConfigClosedError';

  constructor() {
    super('CONFIG_CLOSED', 'The configuration manager is closed');
  }
}
