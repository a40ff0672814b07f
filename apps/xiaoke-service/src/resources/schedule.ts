import type { Database, Queryable } from '../database/database.ts';
import type { ResourceType } from '../database/seed-data.ts';
import type { BookedSlot } from '../requests/medical-request.ts';

/** Something a request can be treated with. */
export interface Resource {
  readonly id: string;
  readonly type: ResourceType;
  readonly specialty: string;
  readonly name: string;
  readonly freeSlots: number;
}

/** One slot of a resource. */
export interface Slot {
  readonly id: string;
  readonly startsAt: Date;
  readonly endsAt: Date;
  readonly free: boolean;
}

/** What a slot must fit. */
export interface BookingWish {
  /** Who holds it: the id of the request. One holder has at most one slot. */
  readonly holder: string;
  readonly userId: string;
  readonly resourceType: ResourceType;
  readonly specialty?: string | undefined;
  readonly from?: Date | undefined;
  readonly to?: Date | undefined;
}

const BOOKED = `s.id AS "slotId", r.id AS "resourceId", r.name AS "resourceName",
  s.starts_at AS "startsAt", s.ends_at AS "endsAt"`;

type BookedRow = Omit<BookedSlot, 'startsAt' | 'endsAt'> & { readonly startsAt: Date; readonly endsAt: Date };

// A booker passes over slots that others are booking right now; when only such are left it looks again, this often.
const MAX_ROUNDS = 50;

/** The clinic's resources and their slots. */
export class Schedule {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  async resources(type?: ResourceType): Promise<readonly Resource[]> {
    return await this.#database.query<Resource>(
      `SELECT r.id, r.type, r.specialty, r.name, count(s.id) FILTER (WHERE b.slot_id IS NULL)::int AS "freeSlots"
       FROM resources r LEFT JOIN slots s ON s.resource_id = r.id LEFT JOIN bookings b ON b.slot_id = s.id
       WHERE $1::text IS NULL OR r.type = $1 GROUP BY r.id ORDER BY r.type, r.id`,
      [type ?? null],
    );
  }

  /** The slots of a resource in time order, or `undefined` when there is no such resource. */
  async slots(
    resourceId: string,
    options: { readonly onlyFree: boolean; readonly limit: number },
  ): Promise<readonly Slot[] | undefined> {
    const [resource] = await this.#database.query('SELECT 1 FROM resources WHERE id = $1', [resourceId]);
    if (resource === undefined) return undefined;
    return await this.#database.query<Slot>(
      `SELECT s.id, s.starts_at AS "startsAt", s.ends_at AS "endsAt", b.slot_id IS NULL AS free
       FROM slots s LEFT JOIN bookings b ON b.slot_id = s.id
       WHERE s.resource_id = $1 AND ($2 = false OR b.slot_id IS NULL) ORDER BY s.starts_at LIMIT $3`,
      [resourceId, options.onlyFree, options.limit],
    );
  }

  /**
   * Books the earliest free slot that fits, or gives `undefined` when there is none. Repeating it for the same holder gives
   * the same slot. No slot is booked twice, whoever else books at the same time: a UNIQUE constraint decides.
   */
  async book(wish: BookingWish, on: Queryable = this.#database): Promise<BookedSlot | undefined> {
    for (let round = 0; round < MAX_ROUNDS; round += 1) {
      const existing = await this.#bookedBy(wish.holder, on);
      if (existing !== undefined) return existing;
      if (await this.#take(wish, on)) continue;
      if (!(await this.#anyFree(wish, on))) return undefined;
    }
    throw new Error(`no slot could be booked: others were faster ${MAX_ROUNDS} times`);
  }

  async #bookedBy(holder: string, on: Queryable): Promise<BookedSlot | undefined> {
    const [row] = await on.query<BookedRow>(
      `SELECT ${BOOKED} FROM bookings b JOIN slots s ON s.id = b.slot_id JOIN resources r ON r.id = s.resource_id
       WHERE b.holder = $1`,
      [holder],
    );
    return row === undefined ? undefined : toBooked(row);
  }

  // One statement finds and takes: SKIP LOCKED keeps bookers from queueing up behind the same slot, and ON CONFLICT is what
  // a booker meets whose snapshot is older than another's booking.
  async #take(wish: BookingWish, on: Queryable): Promise<boolean> {
    const rows = await on.query(
      `WITH free AS (${FREE} ORDER BY s.starts_at, s.id LIMIT 1 FOR UPDATE OF s SKIP LOCKED)
       INSERT INTO bookings (slot_id, holder, user_id) SELECT id, $5, $6 FROM free
       ON CONFLICT DO NOTHING RETURNING slot_id`,
      [...filterOf(wish), wish.holder, wish.userId],
    );
    return rows.length === 1;
  }

  async #anyFree(wish: BookingWish, on: Queryable): Promise<boolean> {
    const rows = await on.query(`${FREE} LIMIT 1`, filterOf(wish));
    return rows.length === 1;
  }
}

const FREE = `SELECT s.id FROM slots s JOIN resources r ON r.id = s.resource_id
  WHERE r.type = $1 AND ($2::text IS NULL OR r.specialty = $2)
    AND ($3::timestamptz IS NULL OR s.starts_at >= $3) AND ($4::timestamptz IS NULL OR s.ends_at <= $4)
    AND NOT EXISTS (SELECT 1 FROM bookings b WHERE b.slot_id = s.id)`;

function filterOf(wish: BookingWish): readonly unknown[] {
  return [wish.resourceType, wish.specialty ?? null, wish.from ?? null, wish.to ?? null];
}

function toBooked(row: BookedRow): BookedSlot {
  return { ...row, startsAt: row.startsAt.toISOString(), endsAt: row.endsAt.toISOString() };
}
