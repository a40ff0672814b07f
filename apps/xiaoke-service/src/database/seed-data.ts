import type { Queryable } from './database.ts';

/** How much is generated. The same sizes always give the same rows. */
export interface SeedOptions {
  /** @default 300 */
  readonly users?: number;
  /** Working days of slots for each resource. @default 10 */
  readonly days?: number;
  /** The first day; by default the coming midnight (UTC). */
  readonly from?: Date;
}

const SURNAMES = ['Wang', 'Li', 'Zhang', 'Liu', 'Chen', 'Yang', 'Zhao', 'Huang', 'Zhou', 'Wu'] as const;
const GIVEN_NAMES = [
  'Wei',
  'Fang',
  'Na',
  'Min',
  'Jing',
  'Lei',
  'Jun',
  'Yan',
  'Chao',
  'Ying',
  'Hui',
  'Bo',
] as const;
const ROLES = ['patient', 'patient', 'patient', 'patient', 'caregiver', 'clinician'] as const;

/** Every resource of the clinic: how many of a type and specialty there are. */
export const CLINIC: readonly {
  readonly type: ResourceType;
  readonly specialty: string;
  readonly count: number;
}[] = [
  { type: 'doctor', specialty: 'general', count: 8 },
  { type: 'doctor', specialty: 'cardiology', count: 4 },
  { type: 'doctor', specialty: 'dermatology', count: 3 },
  { type: 'doctor', specialty: 'pediatrics', count: 4 },
  { type: 'room', specialty: 'treatment', count: 6 },
  { type: 'room', specialty: 'surgery', count: 2 },
  { type: 'device', specialty: 'mri', count: 2 },
  { type: 'device', specialty: 'ultrasound', count: 4 },
  { type: 'device', specialty: 'laboratory', count: 4 },
];

/** What a request can be treated with. */
export type ResourceType = 'doctor' | 'room' | 'device';

const SLOT_MINUTES = 30;
const FIRST_HOUR = 8;
const SLOTS_A_DAY = 16;
const DAY = 24 * 60 * 60_000;
const CHUNK = 500;

/** Fills an empty database with users, resources and free slots; does nothing when there are users already. */
export async function seed(database: Queryable, options: SeedOptions = {}): Promise<void> {
  const [row] = await database.query<{ present: boolean }>('SELECT EXISTS (SELECT 1 FROM users) AS present');
  if (row?.present === true) return;
  const { users = 300, days = 10, from = nextMidnight() } = options;
  await insert(
    database,
    'users (id, name, role, birth_year)',
    Array.from({ length: users }, (_, n) => userRow(n)),
  );
  const resources = CLINIC.flatMap(({ type, specialty, count }) =>
    Array.from({ length: count }, (_, n) => [
      `${specialty}-${n + 1}`,
      type,
      specialty,
      `${title(specialty)} ${n + 1}`,
    ]),
  );
  await insert(database, 'resources (id, type, specialty, name)', resources);
  const slots = resources.flatMap(([id]) => slotRows(String(id), days, from));
  await insert(database, 'slots (id, resource_id, starts_at, ends_at)', slots);
}

function userRow(n: number): readonly unknown[] {
  const name = `${pick(GIVEN_NAMES, n * 7)} ${pick(SURNAMES, n * 3 + Math.floor(n / 10))}`;
  return [`user-${String(n + 1).padStart(4, '0')}`, name, pick(ROLES, n), 1935 + ((n * 37) % 85)];
}

function slotRows(resourceId: string, days: number, from: Date): readonly (readonly unknown[])[] {
  return Array.from({ length: days * SLOTS_A_DAY }, (_, n) => {
    const minutes = FIRST_HOUR * 60 + (n % SLOTS_A_DAY) * SLOT_MINUTES;
    const start = from.getTime() + Math.floor(n / SLOTS_A_DAY) * DAY + minutes * 60_000;
    return [
      `${resourceId}@${new Date(start).toISOString()}`,
      resourceId,
      new Date(start),
      new Date(start + SLOT_MINUTES * 60_000),
    ];
  });
}

/** Inserts rows in statements of a few hundred, since a statement takes at most 65,535 parameters. */
async function insert(
  database: Queryable,
  target: string,
  rows: readonly (readonly unknown[])[],
): Promise<void> {
  for (let start = 0; start < rows.length; start += CHUNK) {
    const chunk = rows.slice(start, start + CHUNK);
    let parameter = 0;
    const values = chunk.map((row) => `(${row.map(() => `$${(parameter += 1)}`).join(', ')})`).join(', ');
    await database.query(`INSERT INTO ${target} VALUES ${values}`, chunk.flat());
  }
}

function nextMidnight(): Date {
  return new Date((Math.floor(Date.now() / DAY) + 1) * DAY);
}

function pick<T>(values: readonly [T, ...T[]] | readonly T[], n: number): T {
  return values[n % values.length] as T;
}

function title(word: string): string {
  return word.charAt(0).toUpperCase() + word.slice(1);
}
