import type { RetryDecision } from '../retry/retry-options.ts';

/** The databases whose errors are known. */
export type DatabaseDialect = 'postgres' | 'mysql' | 'mongodb' | 'redis';

/** What an error says about what happened to the statement. */
export type DatabaseErrorKind =
  /** It was not done, and may be tried again: a deadlock, a serialization failure, a server that is starting. */
  | 'rolled-back'
  /** The connection broke: it may have been done. */
  | 'unknown-outcome'
  /** The server or the network is in trouble, and nothing was done. */
  | 'unavailable'
  | 'permanent';

const NETWORK: ReadonlySet<string> = new Set(['ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'ERR_SOCKET_CLOSED']);
const NOT_SENT: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ENETUNREACH',
  'EHOSTUNREACH',
]);

/** Tells what an error of a database driver means for trying again. */
export function classifyDatabaseError(dialect: DatabaseDialect, error: unknown): DatabaseErrorKind {
  const code = text(error, 'code');
  if (NOT_SENT.has(code)) return 'unavailable';
  if (NETWORK.has(code)) return 'unknown-outcome';
  switch (dialect) {
    case 'postgres':
      return classifyPostgres(code);
    case 'mysql':
      return classifyMysql(code);
    case 'mongodb':
      return classifyMongo(error);
    case 'redis':
      return classifyRedis(text(error, 'message'));
  }
}

// https://www.postgresql.org/docs/current/errcodes-appendix.html
function classifyPostgres(code: string): DatabaseErrorKind {
  if (code === '40001' || code === '40P01' || code === '55P03') return 'rolled-back';
  if (code === '53300' || code === '57P03' || code === '08001' || code === '08004') return 'unavailable';
  if (code.startsWith('57P0') || code.startsWith('08')) return 'unknown-outcome';
  return 'permanent';
}

function classifyMysql(code: string): DatabaseErrorKind {
  if (code === 'ER_LOCK_DEADLOCK' || code === 'ER_LOCK_WAIT_TIMEOUT') return 'rolled-back';
  if (code === 'ER_CON_COUNT_ERROR' || code === 'ER_TOO_MANY_USER_CONNECTIONS') return 'unavailable';
  if (code === 'PROTOCOL_CONNECTION_LOST' || code === 'ER_SERVER_SHUTDOWN') return 'unknown-outcome';
  return 'permanent';
}

function classifyMongo(error: unknown): DatabaseErrorKind {
  if (hasLabel(error, 'TransientTransactionError')) return 'rolled-back';
  if (hasLabel(error, 'RetryableWriteError') || hasLabel(error, 'RetryableReadError')) return 'unavailable';
  return text(error, 'name').startsWith('MongoNetwork') ? 'unknown-outcome' : 'permanent';
}

function classifyRedis(message: string): DatabaseErrorKind {
  if (/^(LOADING|TRYAGAIN|CLUSTERDOWN|READONLY|MASTERDOWN|BUSY) /.test(message)) return 'unavailable';
  return /^(Connection is closed|Reached the max retries)/.test(message) ? 'unknown-outcome' : 'permanent';
}

/** The `retryIf` of a database: what was certainly not done is tried again, what may have been done only if that does no harm. */
export function retryDatabaseIf(
  dialect: DatabaseDialect,
): (error: unknown, decision: RetryDecision) => boolean {
  return (error, { idempotent }) => {
    const kind = classifyDatabaseError(dialect, error);
    if (kind === 'unknown-outcome') return idempotent === true;
    return kind === 'rolled-back' || kind === 'unavailable';
  };
}

function hasLabel(error: unknown, label: string): boolean {
  if (typeof error !== 'object' || error === null || !('hasErrorLabel' in error)) return false;
  return typeof error.hasErrorLabel === 'function' && error.hasErrorLabel(label) === true;
}

function text(error: unknown, name: string): string {
  const value: unknown = typeof error === 'object' && error !== null ? Reflect.get(error, name) : undefined;
  return typeof value === 'string' ? value : '';
}
