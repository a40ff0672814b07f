import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';

import { freePort } from '../free-port.ts';
import { ProxiedConnection, type Exchange } from './proxied-connection.ts';

/** How {@link chaosProxy} is set up. */
export interface ChaosProxyOptions {
  readonly target: { readonly host: string; readonly port: number };
}

/** Milliseconds added on the way to the server and back. */
export interface Latency {
  readonly request?: number;
  readonly reply?: number;
}

/** A TCP proxy on 127.0.0.1 that fails on command. It knows no protocol and works for any server. */
export class ChaosProxy implements AsyncDisposable {
  readonly host = '127.0.0.1' as const;
  readonly port: number;
  readonly #connections = new Map<Socket, ProxiedConnection>();
  readonly #target: ChaosProxyOptions['target'];
  #server: Server | undefined;
  #latency: Latency = {};
  #losesReply: (exchange: Exchange) => boolean = () => false;
  #halfOpen = false;
  #blackhole = false;
  #lostReplies = 0;

  /** Use {@link chaosProxy}. */
  constructor(port: number, options: ChaosProxyOptions) {
    this.port = port;
    this.#target = options.target;
  }

  /** The client connections that are open now. */
  get connections(): number {
    return this.#connections.size;
  }

  /** How many replies {@link dropReplies} has lost so far. */
  get lostReplies(): number {
    return this.#lostReplies;
  }

  /** An address through the proxy, such as `url('redis')` or `url('amqp')`. */
  url(scheme: string): string {
    return `${scheme}://${this.host}:${this.port}`;
  }

  /**
   * Loses replies: the server has done the work, the client sees a reset instead of the answer.
   *
   * TCP never loses bytes from the middle of a stream, so the connection dies with the reply.
   * @param which - the next so many replies, or a choice asked for each until {@link heal}; it sees what the
   * client sent and what came back.
   */
  dropReplies(which: number | ((exchange: Exchange) => boolean)): void {
    let left = typeof which === 'number' ? which : 0;
    const chosen = typeof which === 'number' ? () => left-- > 0 : which;
    this.#losesReply = (exchange) => {
      const lost = chosen(exchange);
      if (lost) this.#lostReplies += 1;
      return lost;
    };
  }

  /** Each open connection sees a TCP reset; new ones work. */
  resetAll(): void {
    for (const connection of this.#connections.values()) connection.reset();
  }

  /**
   * While on, the server is gone without a word: connections, open and new, are accepted, swallow all and
   * never answer. Those stay dead after it is off, as after a lost NAT entry; new ones work then.
   */
  halfOpen(on: boolean): void {
    this.#halfOpen = on;
    if (on) for (const connection of this.#connections.values()) connection.strand();
  }

  /**
   * While on, nothing passes in either direction, not even that somebody closed. What was sent meanwhile
   * arrives when it is off, as TCP repeats it after a partition: late commands do run.
   */
  blackhole(on: boolean): void {
    this.#blackhole = on;
    for (const connection of this.#connections.values()) {
      if (on) connection.hold();
      else connection.release();
    }
  }

  /** Adds milliseconds to every chunk from now on; a number means each way. */
  delay(latency: number | Latency): void {
    this.#latency = typeof latency === 'number' ? { request: latency, reply: latency } : latency;
  }

  /** Refuses new connections, as a port on which nothing listens; open ones live on. */
  cut(): void {
    this.#server?.close();
    this.#server = undefined;
  }

  /** Ends all faults: listens again, passes all on at once. What is dead stays dead. */
  async heal(): Promise<void> {
    this.#losesReply = () => false;
    this.#latency = {};
    this.halfOpen(false);
    this.blackhole(false);
    await this.listen();
  }

  /** Starts to listen; {@link chaosProxy} and {@link heal} have done so. */
  async listen(): Promise<void> {
    if (this.#server !== undefined) return;
    const server = createServer({ allowHalfOpen: true }, (client) => this.#accept(client));
    this.#server = server;
    server.listen({ port: this.port, host: this.host, exclusive: true });
    await once(server, 'listening');
  }

  /** Resets all connections and ends the proxy. */
  async stop(): Promise<void> {
    const server = this.#server;
    this.cut();
    this.resetAll();
    if (server !== undefined) await once(server, 'close');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  #accept(client: Socket): void {
    const connection = new ProxiedConnection(client, {
      target: this.#target,
      latencyMs: (direction) => this.#latency[direction] ?? 0,
      losesReply: (exchange) => this.#losesReply(exchange),
    });
    this.#connections.set(client, connection);
    client.once('close', () => this.#connections.delete(client));
    if (this.#halfOpen) connection.strand();
    else if (this.#blackhole) connection.hold();
  }
}

/**
 * Puts a proxy in front of a server.
 *
 * @example
 * ```ts
 * await using proxy = await chaosProxy({ target: redis });
 * const client = new Redis(proxy.url('redis'));
 * proxy.dropReplies(({ request }) => request.includes('evalsha'));
 * ```
 */
export async function chaosProxy(options: ChaosProxyOptions): Promise<ChaosProxy> {
  for (let attempt = 1; ; attempt += 1) {
    const proxy = new ChaosProxy(await freePort(), options);
    try {
      await proxy.listen();
      return proxy;
    } catch (error) {
      const taken = error instanceof Error && 'code' in error && error.code === 'EADDRINUSE';
      if (!taken || attempt === 5) throw error;
    }
  }
}
