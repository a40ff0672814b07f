/**
 * Tasks that are enqueued inside a PostgreSQL transaction: they exist if and only if it commits. A relay moves them to the
 * queue, once each.
 *
 * @module
 */
export { createOutbox, type Outbox, type OutboxOptions } from './outbox.ts';
export type { PostgresDatabase, PostgresListener, PostgresQueryable } from './postgres.ts';
