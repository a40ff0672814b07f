/** One level of a {@link Logger}: fields first, then a constant message. */
export interface LogFunction {
  (fields: object, message?: string): void;
  (message: string): void;
}

/** The part of pino's shape that the suite calls; a pino logger can be passed as it is. */
export interface Logger {
  debug: LogFunction;
  info: LogFunction;
  warn: LogFunction;
  error: LogFunction;
}

const nothing = (): void => {};

/** The default: says nothing. */
export const silentLogger: Logger = Object.freeze({
  debug: nothing,
  info: nothing,
  warn: nothing,
  error: nothing,
});
