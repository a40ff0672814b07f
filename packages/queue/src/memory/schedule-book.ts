import type { SchedulePut, StoredSchedule } from '../backend.ts';

/** The schedules of a namespace in memory. */
export class ScheduleBook {
  readonly #schedules = new Map<string, StoredSchedule & { lastTask?: string }>();

  put({ schedule, expected, keepsTime }: SchedulePut): boolean {
    const known = this.#schedules.get(schedule.id);
    if (known?.definition !== expected) return false;
    const nextAt = keepsTime && known !== undefined ? known.nextAt : schedule.nextAt;
    this.#schedules.set(schedule.id, { ...known, ...schedule, nextAt });
    return true;
  }

  remove(id: string): boolean {
    return this.#schedules.delete(id);
  }

  list(): readonly StoredSchedule[] {
    return [...this.#schedules.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  due(limit: number, now: number): { due: readonly StoredSchedule[]; nextMs: number | undefined } {
    const sorted = [...this.#schedules.values()].sort((a, b) => a.nextAt - b.nextAt);
    const due = sorted.filter((schedule) => schedule.nextAt <= now).slice(0, limit);
    const next = sorted.find((schedule) => schedule.nextAt > now);
    return { due, nextMs: next === undefined ? undefined : next.nextAt - now };
  }

  /** Moves a schedule on, if nobody else has; gives the task of its last fire. */
  advance(id: string, expected: number, next: number): { last: string | undefined } | undefined {
    const schedule = this.#schedules.get(id);
    if (schedule === undefined || schedule.nextAt !== expected) return undefined;
    if (next === Infinity) this.#schedules.delete(id);
    else this.#schedules.set(id, { ...schedule, nextAt: next });
    return { last: schedule.lastTask };
  }

  setLast(id: string, task: string): void {
    const schedule = this.#schedules.get(id);
    if (schedule !== undefined) this.#schedules.set(id, { ...schedule, lastTask: task });
  }
}
