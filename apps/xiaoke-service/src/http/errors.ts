import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import { XiaokeError } from '@xiaoke/core';
import { ServiceError } from '../errors.ts';

/** The body of every answer that is no success. */
export interface ErrorBody {
  readonly error: { readonly code: string; readonly message: string; readonly field?: string };
}

/**
 * Turns an error into an answer. The client learns what it can do something about: its own mistakes with the field named,
 * and that a part is unavailable. Everything else is logged and answered without detail.
 */
export function answerError(
  error: FastifyError | Error,
  request: FastifyRequest,
  reply: FastifyReply,
): FastifyReply {
  if (error instanceof ServiceError) {
    return reply.code(error.statusCode).send(body(error.code, error.message));
  }
  if ('validation' in error && error.validation !== undefined) {
    return reply.code(400).send(body('INVALID_REQUEST', error.message, fieldOf(error)));
  }
  if ('statusCode' in error && typeof error.statusCode === 'number' && error.statusCode < 500) {
    return reply.code(error.statusCode).send(body('INVALID_REQUEST', error.message));
  }
  if (error instanceof XiaokeError) {
    request.log.warn({ err: error }, 'a part of the service is unavailable');
    return reply
      .code(503)
      .header('retry-after', '1')
      .send(body(error.code, 'The service cannot take this now; try again'));
  }
  request.log.error({ err: error }, 'a request failed');
  return reply.code(500).send(body('INTERNAL', 'Something went wrong'));
}

function body(code: string, message: string, field?: string): ErrorBody {
  return { error: { code, message, ...(field === undefined ? {} : { field }) } };
}

// The validator says `/requirements/urgency`, or, for a missing field, the parent's path and the name apart.
function fieldOf(error: FastifyError | Error): string {
  const [first] = ('validation' in error ? error.validation : undefined) ?? [];
  const path = (first?.instancePath ?? '').split('/').filter((part) => part !== '');
  const missing = first?.params['missingProperty'] ?? first?.params['additionalProperty'];
  if (typeof missing === 'string') path.push(missing);
  return path.join('.');
}
