import { randomUUID } from 'node:crypto';
import type { FastifyInstance } from 'fastify';
import type { LockManager } from '@xiaoke/lock';
import type { ResourceType } from '../database/seed-data.ts';
import { notFound, ServiceError } from '../errors.ts';
import type { Schedule } from '../resources/schedule.ts';
import type { Users } from '../users.ts';

const TYPES = ['doctor', 'room', 'device'] as const;

const booking = {
  body: {
    type: 'object',
    required: ['userId', 'resourceType'],
    additionalProperties: false,
    properties: {
      userId: { type: 'string', minLength: 1, maxLength: 64 },
      resourceType: { enum: TYPES },
      from: { type: 'string', format: 'date-time' },
      to: { type: 'string', format: 'date-time' },
    },
  },
} as const;

const listing = {
  querystring: { type: 'object', additionalProperties: false, properties: { type: { enum: TYPES } } },
} as const;

const slotListing = {
  querystring: {
    type: 'object',
    additionalProperties: false,
    properties: {
      free: { type: 'boolean', default: false },
      limit: { type: 'integer', minimum: 1, maximum: 1_000, default: 200 },
    },
  },
} as const;

interface BookingRoute {
  Body: { userId: string; resourceType: ResourceType; from?: string; to?: string };
}

/** `POST /resources/schedule`, `GET /resources` and `GET /resources/:id/slots`. */
export function resourceRoutes(
  app: FastifyInstance,
  parts: { readonly schedule: Schedule; readonly users: Users; readonly locks: LockManager },
): void {
  const { schedule, users, locks } = parts;

  app.post<BookingRoute>('/resources/schedule', { schema: booking }, async (request, reply) => {
    const { userId, resourceType } = request.body;
    const from = request.body.from === undefined ? undefined : new Date(request.body.from);
    const to = request.body.to === undefined ? undefined : new Date(request.body.to);
    if (from !== undefined && to !== undefined && to <= from) {
      throw new ServiceError(400, 'INVALID_REQUEST', 'body/to must be later than body/from', { field: 'to' });
    }
    if ((await users.find(userId)) === undefined) throw notFound('user', userId);
    const holder = `direct:${randomUUID()}`;
    const slot = await locks.withLock(
      `slots:${resourceType}`,
      async () => await schedule.book({ holder, userId, resourceType, from, to }),
    );
    if (slot === undefined) return { outcome: 'waitlisted', reason: `no free ${resourceType} in that time` };
    return await reply.code(201).send({ outcome: 'booked', slot });
  });

  app.get<{ Querystring: { type?: ResourceType } }>('/resources', { schema: listing }, async (request) => ({
    items: await schedule.resources(request.query.type),
  }));

  app.get<{ Params: { id: string }; Querystring: { free: boolean; limit: number } }>(
    '/resources/:id/slots',
    { schema: slotListing },
    async (request) => {
      const { id } = request.params;
      const items = await schedule.slots(id, { onlyFree: request.query.free, limit: request.query.limit });
      if (items === undefined) throw notFound('resource', id);
      return { items };
    },
  );
}
