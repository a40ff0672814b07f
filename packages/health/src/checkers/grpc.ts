import { connect, constants, type ClientHttp2Session } from 'node:http2';
import { InvalidOptionError } from '@xiaoke/core';
import type { CheckOutcome } from '../check-result.ts';
import type { CheckContext, HealthChecker } from '../checker.ts';
import { networkFailure } from './network-failure.ts';

/** What a gRPC server is asked about. */
export interface GrpcCheckerOptions {
  /** The service; the empty name is the server as a whole. @default '' */
  readonly service?: string;
  /** Sent with each call, such as an authorization. */
  readonly headers?: Readonly<Record<string, string>>;
}

const PATH = '/grpc.health.v1.Health/Check';
const SERVING = 1;
/** A name of up to this many bytes has its length in one byte. */
const MAX_NAME = 127;
/** An answer is a few bytes; more than this is none. */
const MAX_ANSWER = 1_024;

interface Answer {
  readonly httpStatus: number;
  readonly grpcStatus: string;
  readonly message: Buffer;
}

/**
 * Asks a server by the gRPC health protocol (`grpc.health.v1`), over one HTTP/2 connection of its own that the deadline cuts.
 * `NOT_SERVING` and an unknown service are unhealthy; a server that does not speak the protocol is `UNIMPLEMENTED`.
 */
export class GrpcHealthChecker implements HealthChecker {
  readonly name: string;
  readonly kind = 'dependency';
  readonly #origin: string;
  readonly #request: Buffer;
  readonly #headers: Readonly<Record<string, string>>;
  #session: ClientHttp2Session | undefined;

  /** @param url - `http://host:port`, or `https://` with TLS */
  constructor(url: string | URL, options?: GrpcCheckerOptions);
  constructor(name: string, url: string | URL, options?: GrpcCheckerOptions);
  constructor(...args: readonly unknown[]) {
    const named = typeof args[1] === 'string' || args[1] instanceof URL;
    const [name, url, given] = named ? args : ['grpc', ...args];
    const { service = '', headers = {} } = (given ?? {}) as GrpcCheckerOptions;
    this.name = name as string;
    this.#origin = originOf(url);
    this.#request = encodeRequest(service);
    this.#headers = headers;
  }

  async check({ signal, timeoutMs, phase }: CheckContext): Promise<CheckOutcome> {
    const cut = (): void => this.close();
    signal.addEventListener('abort', cut, { once: true });
    try {
      phase('call');
      return judge(await this.#call(this.#connected(), timeoutMs));
    } catch (error) {
      this.close();
      return networkFailure(error);
    } finally {
      signal.removeEventListener('abort', cut);
    }
  }

  close(): void {
    const session = this.#session;
    this.#session = undefined;
    session?.destroy();
  }

  #connected(): ClientHttp2Session {
    const known = this.#session;
    if (known !== undefined && !known.closed && !known.destroyed) return known;
    const session = connect(this.#origin);
    // What goes wrong is told by the call; between calls it only means to connect again.
    session.on('error', () => {});
    const forget = (): void => {
      if (this.#session === session) this.#session = undefined;
    };
    // A server that goes away says so first, and takes no more calls.
    session.on('goaway', () => {
      forget();
      session.close();
    });
    session.on('close', forget);
    session.unref();
    this.#session = session;
    return session;
  }

  #call(session: ClientHttp2Session, timeoutMs: number): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const stream = session.request({
        ...this.#headers,
        [constants.HTTP2_HEADER_METHOD]: 'POST',
        [constants.HTTP2_HEADER_PATH]: PATH,
        [constants.HTTP2_HEADER_CONTENT_TYPE]: 'application/grpc',
        [constants.HTTP2_HEADER_TE]: 'trailers',
        'grpc-timeout': `${Math.min(99_999_999, Math.ceil(timeoutMs))}m`,
      });
      const parts: Buffer[] = [];
      let bytes = 0;
      let httpStatus = 0;
      let grpcStatus = '';
      stream.on('response', (headers) => {
        httpStatus = headers[':status'] ?? 0;
        // An error without a body has its status in the headers.
        grpcStatus = String(headers['grpc-status'] ?? '');
      });
      stream.on('trailers', (trailers) => (grpcStatus = String(trailers['grpc-status'] ?? grpcStatus)));
      stream.on('data', (part: Buffer) => {
        bytes += part.byteLength;
        if (bytes > MAX_ANSWER) stream.destroy(new Error('the answer is too long'));
        else parts.push(part);
      });
      stream.on('error', reject);
      stream.on('close', () => {
        if (httpStatus === 0) reject(new Error('the stream was closed'));
        else resolve({ httpStatus, grpcStatus, message: Buffer.concat(parts) });
      });
      stream.end(this.#request);
    });
  }
}

function judge({ httpStatus, grpcStatus, message }: Answer): CheckOutcome {
  if (httpStatus !== 200) return { status: 'unhealthy', code: 'UNEXPECTED_STATUS', observed: { httpStatus } };
  if (grpcStatus === '5') return { status: 'unhealthy', code: 'SERVICE_UNKNOWN' };
  if (grpcStatus === '12') return { status: 'unhealthy', code: 'UNIMPLEMENTED' };
  if (grpcStatus === '16' || grpcStatus === '7') return { status: 'unhealthy', code: 'AUTH' };
  if (grpcStatus !== '0')
    return { status: 'unhealthy', code: 'FAILED', observed: { grpcStatus: Number(grpcStatus || -1) } };
  return servingStatus(message) === SERVING
    ? { status: 'healthy' }
    : { status: 'unhealthy', code: 'NOT_SERVING' };
}

/** HealthCheckResponse { status = 1 }, behind the five bytes of a gRPC frame; left out, it is 0. */
function servingStatus(message: Buffer): number {
  return message.byteLength >= 7 && message[5] === 0x08 ? (message[6] ?? 0) : 0;
}

/** HealthCheckRequest { service = 1 } in a gRPC frame. */
function encodeRequest(service: unknown): Buffer {
  const name = Buffer.from(typeof service === 'string' ? service : '');
  if (typeof service !== 'string' || name.byteLength > MAX_NAME)
    throw new InvalidOptionError('service', `must be a name of at most ${MAX_NAME} bytes`);
  const message = name.byteLength === 0 ? name : Buffer.concat([Buffer.from([0x0a, name.byteLength]), name]);
  const frame = Buffer.alloc(5 + message.byteLength);
  frame.writeUInt32BE(message.byteLength, 1);
  message.copy(frame, 5);
  return frame;
}

function originOf(url: unknown): string {
  const text = String(url);
  if (!/^https?:\/\//.test(text) || !URL.canParse(text))
    throw new InvalidOptionError('url', 'must begin with http:// or https://');
  return new URL(text).origin;
}
