import { connect, type Socket } from 'node:net';

import { Lane } from './lane.ts';

/** A request and the beginning of its reply, as far as a proxy that knows no protocol can tell. */
export interface Exchange {
  /** What the client sent since the reply before. */
  readonly request: Buffer;
  /** The chunk that came back. */
  readonly reply: Buffer;
}

/** What the connections of a proxy ask it about. */
export interface ConnectionRules {
  readonly target: { readonly host: string; readonly port: number };
  latencyMs(direction: 'request' | 'reply'): number;
  /** Whether this reply is lost; asked once for each. */
  losesReply(exchange: Exchange): boolean;
}

const MAX_REMEMBERED_BYTES = 1024 * 1024;

/** One client's connection through the proxy. */
export class ProxiedConnection {
  readonly #client: Socket;
  readonly #upstream: Socket;
  readonly #requests: Lane;
  readonly #replies: Lane;
  #request: Buffer[] = [];
  #stranded = false;

  constructor(client: Socket, rules: ConnectionRules) {
    this.#client = client.setNoDelay(true);
    this.#upstream = connect({ ...rules.target, allowHalfOpen: true, noDelay: true });
    this.#requests = new Lane(client, this.#upstream, {
      latencyMs: () => rules.latencyMs('request'),
      admit: (chunk) => this.#remember(chunk),
    });
    this.#replies = new Lane(this.#upstream, client, {
      latencyMs: () => rules.latencyMs('reply'),
      admit: (reply) => this.#admitReply(reply, rules),
    });
    this.#closeTogether();
  }

  /** Nothing passes in either direction until {@link release}; see {@link Lane.hold}. */
  hold(): void {
    this.#requests.hold();
    this.#replies.hold();
  }

  release(): void {
    if (this.#stranded) return;
    this.#requests.release();
    this.#replies.release();
  }

  /** The server is gone without a word: the client's side stays open, swallows all and never answers. */
  strand(): void {
    if (this.#stranded) return;
    this.#stranded = true;
    this.#requests.close();
    this.#replies.close();
    this.#upstream.destroy();
  }

  /** Both sides see a TCP reset. */
  reset(): void {
    this.#requests.close();
    this.#replies.close();
    this.#client.resetAndDestroy();
    this.#upstream.resetAndDestroy();
  }

  #remember(chunk: Buffer): true {
    const size = this.#request.reduce((sum, part) => sum + part.length, 0);
    if (size < MAX_REMEMBERED_BYTES) this.#request.push(chunk);
    return true;
  }

  #admitReply(reply: Buffer, rules: ConnectionRules): boolean {
    const request = Buffer.concat(this.#request);
    this.#request = [];
    if (!rules.losesReply({ request, reply })) return true;
    this.reset();
    return false;
  }

  #closeTogether(): void {
    this.#client.on('error', () => this.#upstream.resetAndDestroy());
    this.#upstream.on('error', () => {
      if (!this.#stranded) this.#client.resetAndDestroy();
    });
    this.#client.on('end', () => {
      if (this.#stranded) this.#client.end();
    });
    this.#client.on('close', () => {
      this.#requests.close();
      this.#replies.close();
      this.#upstream.destroy();
    });
    // The last replies may still be travelling when the server closes; the lane's end marker follows them.
    this.#upstream.on('close', (failed) => {
      if (failed && !this.#stranded) this.#client.resetAndDestroy();
    });
  }
}
