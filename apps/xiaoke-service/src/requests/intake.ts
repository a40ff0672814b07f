import { createHash, randomUUID } from 'node:crypto';
import type { CacheManager } from '@xiaoke/cache';
import type { LockManager } from '@xiaoke/lock';
import { TaskPriority, type QueueManager } from '@xiaoke/queue';
import { notFound, ServiceError } from '../errors.ts';
import type { User, Users } from '../users.ts';
import type { MedicalRequest, Requirements, RequestType, Urgency } from './medical-request.ts';
import type { RequestStore } from './request-store.ts';
import { triage } from './triage.ts';

/** The tasks of the service. */
export interface Tasks {
  process_medical_request: { payload: { requestId: string }; result: { outcome: string } };
}

/** What a client sends. */
export interface Submission {
  readonly userId: string;
  readonly type: RequestType;
  readonly requirements: Requirements;
  readonly idempotencyKey?: string | undefined;
}

/** What a client gets. */
export interface Accepted {
  readonly taskId: string;
  readonly duplicate: boolean;
}

/** What taking in a request needs. */
export interface IntakeParts {
  readonly users: Users;
  readonly store: RequestStore;
  readonly locks: LockManager;
  readonly cache: CacheManager<User>;
  readonly queue: QueueManager<Tasks>;
  /** The queue of each urgency. */
  readonly queues: Readonly<Record<Urgency, string>>;
}

const PRIORITY = {
  urgent: TaskPriority.HIGH,
  normal: TaskPriority.NORMAL,
  routine: TaskPriority.LOW,
} as const;

/** Takes medical requests in: checks them, stores them, and hands them to the queue. */
export class Intake {
  readonly #parts: IntakeParts;

  constructor(parts: IntakeParts) {
    this.#parts = parts;
  }

  /** Resolves once the request is stored and the queue has its task; repeating it with the same key changes nothing. */
  async accept(submission: Submission): Promise<Accepted> {
    const { locks } = this.#parts;
    // One user's requests are taken in one at a time, so that two with one key cannot both be the first.
    return await locks.withLock(`user:${submission.userId}`, async () => await this.#store(submission));
  }

  /** Puts a stored request into the queue; safe to repeat. */
  async enqueue(request: Pick<MedicalRequest, 'id' | 'urgency'>): Promise<void> {
    const { queue, queues } = this.#parts;
    await queue.enqueueTask(
      'process_medical_request',
      { requestId: request.id },
      { id: request.id, queue: queues[request.urgency], priority: PRIORITY[request.urgency] },
    );
  }

  async #store(submission: Submission): Promise<Accepted> {
    const { cache, users, store } = this.#parts;
    const { userId, type, requirements, idempotencyKey } = submission;
    const user = await cache.getOrSet(`user:${userId}`, async () => {
      const found = await users.find(userId);
      if (found === undefined) throw notFound('user', userId);
      return found;
    });
    await users.touch(userId);
    const { urgency } = triage(type, requirements, user, new Date());
    const hash = hashOf({ type, requirements });
    const idempotency = idempotencyKey === undefined ? undefined : { key: idempotencyKey, hash };
    const stored = await store.create({ id: randomUUID(), userId, type, requirements, urgency, idempotency });
    if (stored.duplicate && stored.hash !== hash) {
      throw new ServiceError(
        422,
        'IDEMPOTENCY_KEY_REUSED',
        'This Idempotency-Key came with another request before',
      );
    }
    await this.#enqueueOrForget(stored.request, stored.duplicate);
    return { taskId: stored.request.id, duplicate: stored.duplicate };
  }

  // A request that the client is told was refused must not come back to life later.
  async #enqueueOrForget(request: MedicalRequest, duplicate: boolean): Promise<void> {
    if (request.state !== 'accepted') return;
    try {
      await this.enqueue(request);
    } catch (error) {
      if (!duplicate) await this.#parts.store.forget(request.id);
      throw error;
    }
  }
}

function hashOf(value: unknown): string {
  return createHash('sha256').update(canonical(value)).digest('hex');
}

function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([key, entry]) => `${JSON.stringify(key)}:${canonical(entry)}`).join()}}`;
}
