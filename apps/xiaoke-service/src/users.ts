import type { Queryable } from './database/database.ts';

/** Somebody who may ask for treatment. */
export interface User {
  readonly id: string;
  readonly name: string;
  readonly role: string;
  readonly birthYear: number;
}

// A visit is written down at most this often, so that a busy user costs one write a minute.
const TOUCH_EVERY = '1 minute';
const SESSION = '30 minutes';

/** The users in the database. */
export class Users {
  readonly #database: Queryable;

  constructor(database: Queryable) {
    this.#database = database;
  }

  async find(id: string): Promise<User | undefined> {
    const [user] = await this.#database.query<User>(
      'SELECT id, name, role, birth_year AS "birthYear" FROM users WHERE id = $1',
      [id],
    );
    return user;
  }

  async list(limit: number): Promise<readonly User[]> {
    return await this.#database.query<User>(
      'SELECT id, name, role, birth_year AS "birthYear" FROM users ORDER BY id LIMIT $1',
      [limit],
    );
  }

  /** Notes that the user was here now. */
  async touch(id: string): Promise<void> {
    await this.#database.query(
      `UPDATE users SET last_seen_at = now()
       WHERE id = $1 AND (last_seen_at IS NULL OR last_seen_at < now() - interval '${TOUCH_EVERY}')`,
      [id],
    );
  }

  /** How many users of each role were here within the last half hour. */
  async activeSessions(): Promise<readonly { readonly role: string; readonly count: number }[]> {
    return await this.#database.query<{ role: string; count: number }>(
      `SELECT role, count(*) FILTER (WHERE last_seen_at > now() - interval '${SESSION}')::int AS count
       FROM users GROUP BY role`,
    );
  }
}
