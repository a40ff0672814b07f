import type { FastifyInstance } from 'fastify';
import type { QueueManager } from '@xiaoke/queue';
import { notFound } from '../errors.ts';
import type { Intake, Tasks } from '../requests/intake.ts';
import {
  REQUEST_TYPES,
  type MedicalRequest,
  type Requirements,
  type RequestType,
} from '../requests/medical-request.ts';
import type { RequestFilter, RequestStore } from '../requests/request-store.ts';

const requirements = {
  type: 'object',
  additionalProperties: false,
  properties: {
    specialty: { type: 'string', minLength: 1, maxLength: 64 },
    urgency: { enum: ['urgent', 'normal', 'routine'] },
    symptoms: { type: 'array', maxItems: 20, items: { type: 'string', minLength: 1, maxLength: 200 } },
    notBefore: { type: 'string', format: 'date-time' },
  },
} as const;

const submission = {
  body: {
    type: 'object',
    required: ['userId', 'type'],
    additionalProperties: false,
    properties: {
      userId: { type: 'string', minLength: 1, maxLength: 64 },
      type: { enum: REQUEST_TYPES },
      requirements,
    },
  },
  headers: {
    type: 'object',
    properties: { 'idempotency-key': { type: 'string', minLength: 1, maxLength: 255 } },
  },
} as const;

const listing = {
  querystring: {
    type: 'object',
    additionalProperties: false,
    properties: {
      userId: { type: 'string', minLength: 1, maxLength: 64 },
      state: { enum: ['accepted', 'deferred', 'completed', 'waitlisted', 'failed'] },
      limit: { type: 'integer', minimum: 1, maximum: 500, default: 50 },
    },
  },
} as const;

interface SubmissionRoute {
  Body: { userId: string; type: RequestType; requirements?: Requirements };
  Headers: { 'idempotency-key'?: string };
}

/** `POST /medical-requests`, `GET /medical-requests/:id` and `GET /medical-requests`. */
export function medicalRequestRoutes(
  app: FastifyInstance,
  parts: { readonly intake: Intake; readonly store: RequestStore; readonly queue: QueueManager<Tasks> },
): void {
  const { intake, store, queue } = parts;

  app.post<SubmissionRoute>('/medical-requests', { schema: submission }, async (request, reply) => {
    const { userId, type, requirements: wanted = {} } = request.body;
    const idempotencyKey = request.headers['idempotency-key'];
    const { taskId, duplicate } = await intake.accept({ userId, type, requirements: wanted, idempotencyKey });
    if (duplicate) reply.header('idempotency-replayed', 'true');
    return await reply.code(202).header('location', `/medical-requests/${taskId}`).send({ taskId });
  });

  app.get<{ Params: { id: string } }>('/medical-requests/:id', async (request) => {
    const { id } = request.params;
    const found = await store.find(id);
    if (found === undefined) throw notFound('medical request', id);
    const task = await queue.getTask(id);
    return { ...toView(found), attempts: task?.attempts ?? 0, taskState: task?.state };
  });

  app.get<{ Querystring: RequestFilter }>('/medical-requests', { schema: listing }, async (request) => {
    const items = await store.list(request.query);
    return { items: items.map(toView) };
  });
}

function toView(request: MedicalRequest): object {
  return {
    ...request,
    createdAt: request.createdAt.toISOString(),
    updatedAt: request.updatedAt.toISOString(),
  };
}
