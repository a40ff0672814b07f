import { RetryLaterError, type Duration } from '@xiaoke/core';
import type { LockManager } from '@xiaoke/lock';
import type { TaskContext } from '@xiaoke/queue';
import type { Policy } from '@xiaoke/resilience';
import type { BusinessMetrics } from '../business-metrics.ts';
import type { Database } from '../database/database.ts';
import type { Schedule } from '../resources/schedule.ts';
import type { User, Users } from '../users.ts';
import type { MedicalRequest, RequestResult } from './medical-request.ts';
import type { RequestStore } from './request-store.ts';
import { triage } from './triage.ts';

/** What processing a request needs. */
export interface ProcessingParts {
  readonly database: Database;
  readonly users: Users;
  readonly store: RequestStore;
  readonly schedule: Schedule;
  readonly locks: LockManager;
  readonly business: BusinessMetrics;
  /** Guards every call of the database. */
  readonly policy: Policy;
  readonly degraded: () => boolean;
  readonly deferFor: () => Duration;
}

/** Triages medical requests and books their slots; the handler of `process_medical_request`. */
export class Processing {
  readonly #parts: ProcessingParts;

  constructor(parts: ProcessingParts) {
    this.#parts = parts;
  }

  /** Runs at least once per request, and changes nothing when it runs again. */
  async process({ requestId }: { requestId: string }, context: TaskContext): Promise<{ outcome: string }> {
    const { policy, store } = this.#parts;
    const request = await policy.execute(async () => await store.find(requestId));
    // The client was told that it was refused, or it has ended in an earlier run of this task.
    if (request === undefined) return { outcome: 'dropped' };
    if (request.state === 'completed' || request.state === 'waitlisted') return { outcome: request.state };
    return await this.#parts.business.processing(request.type, async () => await this.#run(request, context));
  }

  /** Writes down that a request will not be tried again; called when its task ends in the dead letters. */
  async giveUp(requestId: string, reason: string): Promise<void> {
    await this.#parts.store.setState(requestId, 'failed', { outcome: 'failed', reason });
  }

  async #run(request: MedicalRequest, context: TaskContext): Promise<{ outcome: string }> {
    const { policy, store, business, degraded, deferFor } = this.#parts;
    if (request.urgency === 'routine' && degraded()) {
      await policy.execute(async () => await store.setState(request.id, 'deferred'));
      business.ended(request.type, 'deferred');
      throw new RetryLaterError(deferFor(), 'Routine requests wait while the service is degraded');
    }
    return await this.#schedule(request, context);
  }

  async #schedule(request: MedicalRequest, context: TaskContext): Promise<{ outcome: string }> {
    const { policy, users, locks, business } = this.#parts;
    const user = await policy.execute(async () => await users.find(request.userId));
    const needs = triage(request.type, request.requirements, user ?? UNKNOWN_AGE, request.createdAt);
    const start = performance.now();
    const result = await locks.withLock(`slots:${needs.resourceType}:${needs.specialty}`, async (lock) => {
      context.signal.throwIfAborted();
      lock.assertHeld();
      return await policy.execute(async () => await this.#book(request, needs));
    });
    const outcome = result.outcome === 'booked' ? 'completed' : 'waitlisted';
    business.scheduled(
      needs.resourceType,
      result.outcome === 'booked' ? 'booked' : 'waitlisted',
      (performance.now() - start) / 1_000,
    );
    business.ended(request.type, outcome);
    return { outcome };
  }

  // The slot and the request's end are written together, so that neither can be there without the other.
  async #book(request: MedicalRequest, needs: ReturnType<typeof triage>): Promise<RequestResult> {
    const { database, schedule, store } = this.#parts;
    return await database.transaction(async (transaction) => {
      const { notBefore } = request.requirements;
      const wish = {
        holder: request.id,
        userId: request.userId,
        resourceType: needs.resourceType,
        specialty: needs.specialty,
      };
      const from = notBefore === undefined ? undefined : new Date(notBefore);
      const slot = await schedule.book({ ...wish, from }, transaction);
      const result: RequestResult =
        slot === undefined
          ? { outcome: 'waitlisted', reason: `no free slot for ${needs.specialty}` }
          : { outcome: 'booked', slot };
      await store.setState(request.id, slot === undefined ? 'waitlisted' : 'completed', result, transaction);
      return result;
    });
  }
}

const UNKNOWN_AGE: Pick<User, 'birthYear'> = { birthYear: 1980 };
