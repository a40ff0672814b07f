/**
 * The resource side of fencing: whoever writes shows the fencing token of the lock, and a token smaller than one seen
 * before is refused. A lock alone cannot promise that: its holder may be stopped between looking at the lock and writing.
 *
 * @module
 */
export {
  postgresFence,
  type PostgresClient,
  type PostgresFence,
  type PostgresLoan,
  type PostgresPool,
} from './postgres.ts';
export { redisFence, type FencedCommand, type RedisFence } from './redis.ts';
export {
  mongoFence,
  type MongoCollection,
  type MongoFence,
  type MongoUpdate,
  type MongoUpdateResult,
} from './mongo.ts';
export type { TokenSource } from './token.ts';
export { StaleTokenError } from '../errors.ts';
