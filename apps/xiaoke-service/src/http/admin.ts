import { createHash, timingSafeEqual } from 'node:crypto';
import type { FastifyReply, FastifyRequest, preHandlerAsyncHookHandler } from 'fastify';
import { ServiceError } from '../errors.ts';

const LOOPBACK: ReadonlySet<string> = new Set(['127.0.0.1', '::1', '::ffff:127.0.0.1']);

/**
 * Lets a mutating admin route through only with `Authorization: Bearer <token>`. With no token set, it answers on loopback
 * only; what a proxy says about the client's address is not believed.
 */
export function adminOnly(token: string | undefined): preHandlerAsyncHookHandler {
  const expected = token === undefined || token === '' ? undefined : digest(`Bearer ${token}`);
  return async (request: FastifyRequest, reply: FastifyReply) => {
    if (expected === undefined) {
      if (LOOPBACK.has(request.socket.remoteAddress ?? '')) return;
      throw new ServiceError(403, 'FORBIDDEN', 'Without ADMIN_TOKEN this route answers on loopback only');
    }
    // Digests have one length, so comparing them tells nothing about how much of a guess was right.
    if (timingSafeEqual(digest(request.headers.authorization ?? ''), expected)) return;
    reply.header('www-authenticate', 'Bearer');
    throw new ServiceError(401, 'UNAUTHORIZED', 'This route needs a bearer token');
  };
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
