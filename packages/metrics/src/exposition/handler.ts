import { createGzip, constants } from 'node:zlib';
import type { Format } from './negotiate.ts';
import { CONTENT_TYPES, negotiate } from './negotiate.ts';

/** The part of node's `IncomingMessage` that is read. */
export interface ScrapeRequest {
  readonly method?: string | undefined;
  readonly url?: string | undefined;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

/** The part of node's `ServerResponse` that is written. */
export interface ScrapeResponse extends NodeJS.WritableStream {
  statusCode: number;
  readonly destroyed?: boolean;
  setHeader(name: string, value: string): unknown;
}

/** Answers a scrape; usable with `node:http`, express and anything of that shape. */
export type MetricsHandler = (request: ScrapeRequest, response: ScrapeResponse) => Promise<void>;

/** Gives the pieces of a scrape in one format. */
export type PieceSource = (format: Format) => AsyncIterable<string | Buffer>;

/** The format a request asks for: `?format=text|openmetrics|protobuf` for people, else its `Accept` header. */
export function requestedFormat(url: string | undefined, accept: string | string[] | undefined): Format {
  const wanted = new URL(url ?? '/', 'http://localhost').searchParams.get('format');
  if (wanted !== null && Object.hasOwn(CONTENT_TYPES, wanted)) return wanted as Format;
  return negotiate(Array.isArray(accept) ? accept.join(',') : accept);
}

/** Makes the handler: negotiated format, gzip, HEAD, in pieces that respect the receiver's pace. */
export function createHandler(pieces: PieceSource): MetricsHandler {
  return async (request, response) => {
    if (request.method !== undefined && !['GET', 'HEAD'].includes(request.method)) {
      response.statusCode = 405;
      response.setHeader('allow', 'GET, HEAD');
      response.end();
      return;
    }
    const format = requestedFormat(request.url, request.headers['accept']);
    response.statusCode = 200;
    response.setHeader('content-type', CONTENT_TYPES[format]);
    response.setHeader('cache-control', 'no-store');
    response.setHeader('vary', 'accept, accept-encoding');
    const gzip = acceptsGzip(request.headers['accept-encoding']);
    if (gzip) response.setHeader('content-encoding', 'gzip');
    if (request.method === 'HEAD') response.end();
    else await send(pieces(format), response, gzip);
  };
}

async function send(
  pieces: AsyncIterable<string | Buffer>,
  response: ScrapeResponse,
  gzip: boolean,
): Promise<void> {
  // Level 1 is 10 times smaller already, and cheap.
  const compressor = gzip ? createGzip({ level: constants.Z_BEST_SPEED }) : undefined;
  compressor?.pipe(response);
  const out = compressor ?? response;
  // Whoever hangs up in the middle ends the work.
  let gone = false;
  const onGone = (): void => void (gone = true);
  response.once('close', onGone);
  response.once('error', onGone);
  for await (const piece of pieces) {
    if (gone) return;
    if (!out.write(piece)) await drained(out, response);
  }
  out.end();
}

function drained(out: NodeJS.EventEmitter, response: NodeJS.EventEmitter): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      out.off('drain', done);
      response.off('close', done);
      response.off('error', done);
      resolve();
    };
    out.once('drain', done);
    response.once('close', done);
    response.once('error', done);
  });
}

function acceptsGzip(header: string | string[] | undefined): boolean {
  const offers = String(header ?? '')
    .toLowerCase()
    .split(',');
  return offers.some((offer) => /^\s*gzip\s*(;\s*q=(?!0(\.0*)?\s*$).*)?$/.test(offer));
}
