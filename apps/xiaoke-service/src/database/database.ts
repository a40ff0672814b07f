/** A row as the driver gives it; the queries below say its shape. */
export type Row = Record<string, unknown>;

/** What runs SQL: the database itself, or a transaction of it. */
export interface Queryable {
  /** Runs one statement with `$1`-style parameters. `R` is the shape its SELECT list or RETURNING promises. */
  query<R extends object = Row>(sql: string, parameters?: readonly unknown[]): Promise<R[]>;
}

/** The service's database: PostgreSQL, or PGlite inside the process. Both speak the same SQL. */
export interface Database extends Queryable {
  readonly kind: 'postgresql' | 'pglite';
  /** Runs several statements of a migration. */
  execute(sql: string): Promise<void>;
  /** Commits what `work` did, or rolls all of it back when it throws. */
  transaction<T>(work: (transaction: Queryable) => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

const UNIQUE_VIOLATION = '23505';

/** Whether `error` says that a UNIQUE constraint or primary key refused a row. */
export function isUniqueViolation(error: unknown): boolean {
  return typeof error === 'object' && error !== null && 'code' in error && error.code === UNIQUE_VIOLATION;
}
