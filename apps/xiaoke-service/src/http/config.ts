import type { FastifyInstance, preHandlerAsyncHookHandler } from 'fastify';
import {
  ConfigInvalidError,
  ConflictError,
  GuardVetoError,
  ShadowedError,
  VersionNotFoundError,
  type ConfigManager,
} from '@xiaoke/config';
import { InvalidOptionError } from '@xiaoke/core';
import { ServiceError } from '../errors.ts';
import type { Settings } from '../settings.ts';

const setting = {
  body: {
    type: 'object',
    required: ['path', 'value'],
    additionalProperties: false,
    properties: {
      path: { type: 'string', minLength: 1, maxLength: 500 },
      value: {},
      author: { type: 'string', minLength: 1, maxLength: 200 },
      reason: { type: 'string', minLength: 1, maxLength: 1_000 },
      ifVersion: { type: 'integer', minimum: 0 },
    },
  },
} as const;

const rollback = {
  body: {
    type: 'object',
    required: ['version'],
    additionalProperties: false,
    properties: {
      version: { type: 'integer', minimum: 0 },
      author: { type: 'string', minLength: 1, maxLength: 200 },
      reason: { type: 'string', minLength: 1, maxLength: 1_000 },
    },
  },
} as const;

const explanation = {
  querystring: {
    type: 'object',
    required: ['path'],
    additionalProperties: false,
    properties: { path: { type: 'string', minLength: 1, maxLength: 500 } },
  },
} as const;

interface Meta {
  author?: string;
  reason?: string;
}

/** `/config`, its history and explanations; setting and rolling back for administrators. Secrets are masked. */
export function configRoutes(
  app: FastifyInstance,
  parts: { readonly config: ConfigManager<Settings>; readonly admin: preHandlerAsyncHookHandler },
): void {
  const { config, admin } = parts;

  app.get('/config', async () => ({ version: config.version, values: config.masked() }));

  app.get('/config/history', async () => ({ version: config.version, versions: await config.history() }));

  app.get<{ Querystring: { path: string } }>('/config/explain', { schema: explanation }, async (request) =>
    asked(() => config.explain(request.query.path.split('.'))),
  );

  app.post<{ Body: Meta & { path: string; value: unknown; ifVersion?: number } }>(
    '/config/set',
    { preHandler: admin, schema: setting },
    async (request) => {
      const { path, value, ...options } = request.body;
      return { version: await asked(async () => await config.set(path.split('.'), value, options)) };
    },
  );

  app.post<{ Body: Meta & { version: number } }>(
    '/config/rollback',
    { preHandler: admin, schema: rollback },
    async (request) => {
      const { version, ...options } = request.body;
      return { version: await asked(async () => await config.rollback(version, options)) };
    },
  );
}

/** Turns what the configuration refuses into an answer that says why. */
async function asked<T>(work: () => T | Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof ConflictError || error instanceof ShadowedError || error instanceof GuardVetoError) {
      throw new ServiceError(409, error.code, error.message);
    }
    if (error instanceof ConfigInvalidError || error instanceof InvalidOptionError) {
      throw new ServiceError(400, error.code, error.message);
    }
    if (error instanceof VersionNotFoundError) throw new ServiceError(404, error.code, error.message);
    throw error;
  }
}
