import { createHash, timingSafeEqual } from 'node:crypto';
import type { FastifyReply, FastifyRequest, preHandlerAsyncHookHandler } from 'fastify';
import { ServiceError } from '../errors.ts';

const LOOPBACK: ReadonlySet<string> = new Set(['127.0.0.1', '::1', '::ffff:127.0.0.1']);
const LOOPBACK_HOST = /^(localhost|127\.0\.0\.1|\[::1\])(:\d+)?$/i;

/**
 * Lets a mutating admin route through only with `Authorization: Bearer <token>`. With no token set, it answers on loopback
 * only; what a proxy says about the client's address is not believed.
 *
 * A browser on this machine is on loopback too, so without a token a page of another site is refused by its `Origin`, and
 * one whose name was pointed at this address by the `Host` it asked for.
 */
export function adminOnly(token: string | undefined): preHandlerAsyncHookHandler {
  const expected = token === undefined || token === '' ? undefined : digest(`Bearer ${token}`);
  return async (request: FastifyRequest, reply: FastifyReply) => {
    if (expected === undefined) {
      if (LOOPBACK.has(request.socket.remoteAddress ?? '') && isOurs(request)) return;
      throw new ServiceError(403, 'FORBIDDEN', 'Without ADMIN_TOKEN this route answers on loopback only');
    }
    // Digests have one length, so comparing them tells nothing about how much of a guess was right.
    if (timingSafeEqual(digest(request.headers.authorization ?? ''), expected)) return;
    reply.header('www-authenticate', 'Bearer');
    throw new ServiceError(401, 'UNAUTHORIZED', 'This route needs a bearer token');
  };
}

function isOurs({ headers: { host = '', origin } }: FastifyRequest): boolean {
  return LOOPBACK_HOST.test(host) && (origin === undefined || origin === `http://${host}`);
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
