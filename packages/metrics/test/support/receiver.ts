import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gunzipSync } from 'node:zlib';

/** A request that a {@link startReceiver} got. */
export interface Received {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  /** Unpacked, where it was gzipped. */
  readonly body: Buffer;
  json(): unknown;
}

/** What a receiver answers; `hang` never does. */
export type Answer =
  | { status?: number; headers?: Record<string, string>; body?: string }
  | { hang: true }
  | undefined;

/** A real HTTP server that keeps what it is sent and answers as it is told. */
export interface Receiver extends AsyncDisposable {
  readonly url: string;
  readonly requests: Received[];
  /** Decides the answers from now on. @default 200 */
  answer: (request: Received) => Answer;
}

export async function startReceiver(): Promise<Receiver> {
  const requests: Received[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const raw = Buffer.concat(chunks);
      const body = request.headers['content-encoding'] === 'gzip' ? gunzipSync(raw) : raw;
      const received: Received = {
        method: request.method ?? '',
        path: request.url ?? '',
        headers: request.headers,
        body,
        json: () => JSON.parse(body.toString()),
      };
      requests.push(received);
      const answer = receiver.answer(received) ?? {};
      if ('hang' in answer) return;
      response.writeHead(answer.status ?? 200, answer.headers);
      response.end(answer.body ?? '{}');
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const receiver: Receiver = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    answer: () => undefined,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return receiver;
}
