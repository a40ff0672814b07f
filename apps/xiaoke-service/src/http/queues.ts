import type { FastifyInstance, preHandlerAsyncHookHandler } from 'fastify';
import type { QueueInfo, QueueManager } from '@xiaoke/queue';
import { notFound } from '../errors.ts';
import type { Tasks } from '../requests/intake.ts';

const listing = {
  querystring: {
    type: 'object',
    additionalProperties: false,
    properties: {
      limit: { type: 'integer', minimum: 1, maximum: 500, default: 50 },
      cursor: { type: 'string', minLength: 1, maxLength: 500 },
    },
  },
} as const;

const selection = {
  body: {
    type: ['object', 'null'],
    additionalProperties: false,
    properties: {
      ids: { type: 'array', minItems: 1, maxItems: 500, items: { type: 'string', minLength: 1 } },
    },
  },
} as const;

interface Named {
  Params: { name: string };
}

/** `/queues`, one queue, its dead letters, and what may be done to them; `/autoscale/queues/:name` for a scaler. */
export function queueRoutes(
  app: FastifyInstance,
  parts: { readonly queue: QueueManager<Tasks>; readonly admin: preHandlerAsyncHookHandler },
): void {
  const { queue, admin } = parts;

  app.get('/queues', async () => ({ queues: await queue.inspectQueues(), stats: queue.stats() }));

  app.get<Named>('/queues/:name', async (request) => await infoOf(queue, request.params.name));

  app.get<Named & { Querystring: { limit: number; cursor?: string } }>(
    '/queues/:name/dead-letters',
    { schema: listing },
    async (request) => {
      const { name } = request.params;
      await infoOf(queue, name);
      const { items, cursor } = await queue.deadLetters.list({ queue: name, ...request.query });
      return { items, cursor, count: await queue.deadLetters.count(name) };
    },
  );

  for (const action of ['pause', 'resume'] as const) {
    app.post<Named>(`/queues/:name/${action}`, { preHandler: admin }, async (request) => {
      await infoOf(queue, request.params.name);
      await queue[action](request.params.name);
      return await infoOf(queue, request.params.name);
    });
  }

  for (const action of ['retry', 'purge'] as const) {
    app.post<Named & { Body: { ids?: string[] } | null }>(
      `/queues/:name/dead-letters/${action}`,
      { preHandler: admin, schema: selection },
      async (request) => {
        const { name } = request.params;
        await infoOf(queue, name);
        return { count: await queue.deadLetters[action](request.body?.ids ?? { queue: name }) };
      },
    );
  }

  app.get<Named>('/autoscale/queues/:name', async (request) =>
    autoscaling(await infoOf(queue, request.params.name)),
  );
}

async function infoOf(queue: QueueManager<Tasks>, name: string): Promise<QueueInfo> {
  const info = (await queue.inspectQueues()).find((candidate) => candidate.queue === name);
  if (info === undefined) throw notFound('queue', name);
  return info;
}

// The shape that KEDA's metrics-api trigger reads by valueLocation.
function autoscaling(info: QueueInfo): object {
  return {
    backlog: info.states.waiting,
    oldestAgeSeconds: info.oldestWaitingAgeSeconds ?? 0,
    arrivalRate: info.rates?.enqueuedPerSecond ?? 0,
    completionRate: info.rates?.completedPerSecond ?? 0,
    workers: info.slots,
    desiredWorkers: info.desiredWorkers,
  };
}
