import { isUniqueViolation, type Database, type Queryable, type Row } from '../database/database.ts';
import type { MedicalRequest, RequestResult, RequestState } from './medical-request.ts';

/** A request to be stored. */
export type NewRequest = Pick<MedicalRequest, 'id' | 'userId' | 'type' | 'requirements' | 'urgency'> & {
  readonly idempotency?: { readonly key: string; readonly hash: string } | undefined;
};

/** A request with the hash of the body that its idempotency key came with. */
export interface StoredRequest {
  readonly request: MedicalRequest;
  readonly hash: string | null;
  /** Whether it had been stored before. */
  readonly duplicate: boolean;
}

/** What a listing is narrowed to. */
export interface RequestFilter {
  readonly userId?: string | undefined;
  readonly state?: RequestState | undefined;
  readonly limit: number;
}

const COLUMNS = `id, user_id AS "userId", type, requirements, urgency, state, result,
  created_at AS "createdAt", updated_at AS "updatedAt"`;

/** The medical requests in the database. */
export class RequestStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Stores a request, or gives the one that the same user stored under the same idempotency key. */
  async create(request: NewRequest): Promise<StoredRequest> {
    try {
      const [row] = await this.#database.query(
        `INSERT INTO medical_requests (id, user_id, type, requirements, urgency, state, idempotency_key, idempotency_hash)
         VALUES ($1, $2, $3, $4, $5, 'accepted', $6, $7) RETURNING ${COLUMNS}`,
        [
          request.id,
          request.userId,
          request.type,
          JSON.stringify(request.requirements),
          request.urgency,
          request.idempotency?.key ?? null,
          request.idempotency?.hash ?? null,
        ],
      );
      return { request: toRequest(row), hash: request.idempotency?.hash ?? null, duplicate: false };
    } catch (error) {
      const existing = isUniqueViolation(error) ? await this.#byKey(request) : undefined;
      if (existing === undefined) throw error;
      return existing;
    }
  }

  async find(id: string): Promise<MedicalRequest | undefined> {
    const [row] = await this.#database.query(`SELECT ${COLUMNS} FROM medical_requests WHERE id = $1`, [id]);
    return row === undefined ? undefined : toRequest(row);
  }

  /** The newest first. */
  async list(filter: RequestFilter): Promise<readonly MedicalRequest[]> {
    const rows = await this.#database.query(
      `SELECT ${COLUMNS} FROM medical_requests
       WHERE ($1::text IS NULL OR user_id = $1) AND ($2::text IS NULL OR state = $2)
       ORDER BY created_at DESC, id DESC LIMIT $3`,
      [filter.userId ?? null, filter.state ?? null, filter.limit],
    );
    return rows.map(toRequest);
  }

  /** The oldest requests that have not ended; what a restart has to put back into the queue. */
  async listOpen(limit: number, after = ''): Promise<readonly MedicalRequest[]> {
    const rows = await this.#database.query(
      `SELECT ${COLUMNS} FROM medical_requests WHERE state IN ('accepted', 'deferred') AND id > $2 ORDER BY id LIMIT $1`,
      [limit, after],
    );
    return rows.map(toRequest);
  }

  /** Moves a request on. One that was booked or waitlisted stays so; one that failed may still be helped by a retry. */
  async setState(
    id: string,
    state: RequestState,
    result: RequestResult | null = null,
    on: Queryable = this.#database,
  ): Promise<void> {
    await on.query(
      `UPDATE medical_requests SET state = $2, result = $3, updated_at = now()
       WHERE id = $1 AND state IN ('accepted', 'deferred', 'failed')`,
      [id, state, result === null ? null : JSON.stringify(result)],
    );
  }

  /** Deletes a request that no queue ever had. */
  async forget(id: string): Promise<void> {
    await this.#database.query("DELETE FROM medical_requests WHERE id = $1 AND state = 'accepted'", [id]);
  }

  async countByState(): Promise<Readonly<Record<string, number>>> {
    const rows = await this.#database.query<{ state: string; count: number }>(
      'SELECT state, count(*)::int AS count FROM medical_requests GROUP BY state',
    );
    return Object.fromEntries(rows.map(({ state, count }) => [state, count]));
  }

  async #byKey(request: NewRequest): Promise<StoredRequest | undefined> {
    if (request.idempotency === undefined) return undefined;
    const [row] = await this.#database.query(
      `SELECT ${COLUMNS}, idempotency_hash AS hash FROM medical_requests WHERE user_id = $1 AND idempotency_key = $2`,
      [request.userId, request.idempotency.key],
    );
    return row === undefined
      ? undefined
      : { request: toRequest(row), hash: row['hash'] as string | null, duplicate: true };
  }
}

// COLUMNS names exactly the fields of MedicalRequest, and both drivers give jsonb as values and timestamptz as Date.
function toRequest(row: Row | undefined): MedicalRequest {
  const { hash: _hash, ...request } = row ?? {};
  return request as unknown as MedicalRequest;
}
