import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { afterEach } from 'vitest';

/** Answers one request. */
export type Handler = (request: IncomingMessage, response: ServerResponse) => void;

/** A server whose answers can be exchanged while it runs. */
export interface Fixture {
  readonly url: string;
  readonly requests: IncomingMessage[];
  handle: Handler;
  stop(): Promise<void>;
}

/** Makes servers that are gone after each test. */
export function useServers(): (handle: Handler, port?: number) => Promise<Fixture> {
  const servers: Server[] = [];
  afterEach(() => {
    for (const server of servers.splice(0)) {
      server.closeAllConnections();
      server.close();
    }
  });
  return async (handle, port = 0) => {
    const requests: IncomingMessage[] = [];
    const server = createServer((request, response) => {
      requests.push(request);
      fixture.handle(request, response);
    });
    servers.push(server);
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    const at = typeof address === 'object' && address !== null ? address.port : 0;
    const stop = async (): Promise<void> => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    };
    const fixture: Fixture = { url: `http://127.0.0.1:${at}/app.json`, requests, handle, stop };
    return fixture;
  };
}

/** Answers with a JSON document. */
export const json =
  (value: unknown, headers: Record<string, string> = {}): Handler =>
  (_request, response) => {
    response.writeHead(200, { 'content-type': 'application/json', ...headers });
    response.end(JSON.stringify(value));
  };

/** Answers with a status and no document. */
export const status =
  (code: number, headers: Record<string, string> = {}): Handler =>
  (_request, response) => {
    response.writeHead(code, headers);
    response.end('nothing here');
  };

export const POLL: { readonly pollInterval: number } = { pollInterval: 20 };
