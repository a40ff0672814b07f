import { RetryLaterError } from '@xiaoke/core';
import type { MetricsCollector } from '@xiaoke/metrics';
import type { Database } from './database/database.ts';
import type { ResourceType } from './database/seed-data.ts';
import { REQUEST_TYPES, type RequestType } from './requests/medical-request.ts';
import type { Users } from './users.ts';

/** How a request ended, or that it was put off. */
export type RequestOutcome = 'completed' | 'waitlisted' | 'failed' | 'deferred' | 'dropped';

/** What the service reports about its own business. */
export interface BusinessMetrics {
  /** Times one run of the task of a request, and counts it by outcome. */
  processing<T>(type: RequestType, run: () => Promise<T>): Promise<T>;
  ended(type: RequestType, outcome: RequestOutcome): void;
  scheduled(resource: ResourceType, outcome: 'booked' | 'waitlisted', seconds: number): void;
}

const ROLES = ['patient', 'caregiver', 'clinician'] as const;

/** Defines the service's own metrics. */
export function businessMetrics(
  metrics: MetricsCollector,
  users: Users,
  database: Database,
): BusinessMetrics {
  const operation = metrics.operation('medical_requests', {
    help: 'Processing of medical requests',
    labels: { type: REQUEST_TYPES },
    // Put off is not failed: the request comes back.
    classify: (error) => (error instanceof RetryLaterError ? 'rejected' : 'error'),
    slo: { objective: 0.995, latency: { threshold: 2, objective: 0.95 } },
  });
  const ended = metrics.counter({
    name: 'medical_requests_ended_total',
    help: 'Medical requests by how they ended.',
    labels: { type: REQUEST_TYPES, outcome: ['completed', 'waitlisted', 'failed', 'deferred', 'dropped'] },
  });
  const scheduling = metrics.histogram({
    name: 'resource_scheduling_seconds',
    help: 'Time to find and book a slot, the wait for its lock included.',
    labels: { resource: ['doctor', 'room', 'device'], outcome: ['booked', 'waitlisted'] },
  });
  metrics.gauge({
    name: 'user_sessions_active',
    help: 'Users seen within the last 30 minutes.',
    labels: { role: ROLES },
    collect: async (gauge) => {
      for (const { role, count } of await users.activeSessions())
        gauge.set({ role: role as (typeof ROLES)[number] }, count);
    },
  });
  metrics.gauge({
    name: 'resource_slots',
    help: 'Slots of the clinic by state.',
    labels: { resource: ['doctor', 'room', 'device'], state: ['free', 'booked'] },
    collect: async (gauge) => {
      for (const { type, free, booked } of await slotCounts(database)) {
        gauge.set({ resource: type, state: 'free' }, free);
        gauge.set({ resource: type, state: 'booked' }, booked);
      }
    },
  });
  return {
    processing: async (type, run) => await operation.run({ type }, run),
    ended: (type, outcome) => ended.inc({ type, outcome }),
    scheduled: (resource, outcome, seconds) => scheduling.observe({ resource, outcome }, seconds),
  };
}

type SlotCounts = {
  readonly type: 'doctor' | 'room' | 'device';
  readonly free: number;
  readonly booked: number;
};

async function slotCounts(database: Database): Promise<readonly SlotCounts[]> {
  return await database.query<SlotCounts>(
    `SELECT r.type, count(*) FILTER (WHERE b.slot_id IS NULL)::int AS free,
       count(*) FILTER (WHERE b.slot_id IS NOT NULL)::int AS booked
     FROM slots s JOIN resources r ON r.id = s.resource_id LEFT JOIN bookings b ON b.slot_id = s.id GROUP BY r.type`,
  );
}
