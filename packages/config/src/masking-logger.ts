import type { LogFunction, Logger } from '@xiaoke/core';

const MAX_DEPTH = 4;
const LEVELS = ['debug', 'info', 'warn', 'error'] as const;

/**
 * A logger that passes on nothing secret: what a guard, a callback or a driver throws may quote the values it was given.
 *
 * @param clean - takes every known secret out of a text
 */
export function maskingLogger(logger: Logger, clean: (text: string) => string): Logger {
  const write = (level: (typeof LEVELS)[number]): LogFunction => {
    return (fields: object | string, message?: string): void => {
      if (typeof fields === 'string') logger[level](clean(fields));
      else logger[level](cleanValue(fields, clean, 0) as object, message);
    };
  };
  return { debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error') };
}

function cleanValue(value: unknown, clean: (text: string) => string, depth: number): unknown {
  if (typeof value === 'string') return clean(value);
  if (typeof value !== 'object' || value === null || depth > MAX_DEPTH) return value;
  if (value instanceof Error) return cleanError(value, clean, depth);
  if (Array.isArray(value)) return value.map((item) => cleanValue(item, clean, depth + 1));
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, cleanValue(item, clean, depth + 1)]),
  );
}

/** The error itself when there is nothing to hide, so that a logger sees its class; else a copy of what it says. */
function cleanError(error: Error, clean: (text: string) => string, depth: number): Error {
  const message = clean(error.message);
  const stack = error.stack === undefined ? undefined : clean(error.stack);
  const cause = cleanValue(error.cause, clean, depth + 1);
  const extras = Object.entries(error).map(([key, value]) => [key, cleanValue(value, clean, depth + 1)]);
  const same = message === error.message && stack === error.stack && cause === error.cause;
  if (same && Object.entries(error).every(([key, value]) => isSame(value, extras, key))) return error;
  const copy = new Error(message, cause === undefined ? {} : { cause });
  copy.name = error.name;
  Object.assign(copy, Object.fromEntries(extras), stack === undefined ? {} : { stack });
  return copy;
}

function isSame(value: unknown, extras: readonly unknown[][], key: string): boolean {
  const cleaned = extras.find(([name]) => name === key)?.[1];
  return typeof value === 'object' ? JSON.stringify(cleaned) === JSON.stringify(value) : cleaned === value;
}
