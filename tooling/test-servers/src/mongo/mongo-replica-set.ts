import { once } from 'node:events';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

import { ObjectId, type Document } from 'bson';

import { encodeReply, readRequest } from './wire-protocol.ts';

/** What a member of the set says it is. */
export type MongoRole = 'primary' | 'secondary' | 'recovering';

/** Answers a command in place of the built-in answers; `undefined` leaves it to them. */
export type MongoAnswer = (name: string, command: Document) => Document | undefined;

/** One member of {@link MongoReplicaSet}. */
export interface MongoMember {
  /** `127.0.0.1:<port>` */
  readonly address: string;
  /** Seen by drivers at their next heartbeat. */
  role: MongoRole;
  /** Milliseconds before each answer; `Infinity`: it reads and never answers. */
  delayMs: number;
  answer: MongoAnswer | undefined;
  /** How many connections are open. */
  readonly connections: number;
  /** Closes the port and every connection, as the end of the process would. */
  kill(): Promise<void>;
  /** Listens again on the same port. */
  restart(): Promise<void>;
}

/** A double of a replica set, on real sockets. */
export interface MongoReplicaSet extends AsyncDisposable {
  /** `mongodb://<members>/?replicaSet=rs0` */
  readonly url: string;
  readonly members: readonly MongoMember[];
  /** Makes this member the primary and the others secondaries. */
  elect(member: MongoMember): void;
  /** Leaves the set without a primary. */
  stepDown(): void;
  stop(): Promise<void>;
}

const SET_NAME = 'rs0';
const WIRE_VERSION = 21;

/**
 * Starts a double of a MongoDB replica set inside this process, the first member being primary.
 *
 * It speaks enough of the wire protocol for the official driver to discover the set, follow elections and run `ping`, `hello`
 * and `replSetGetStatus`. What it proves is how a client behaves in these states; it stores nothing, holds no real
 * election, and knows neither users nor TLS.
 */
export async function startMongoReplicaSet(options: { members?: number } = {}): Promise<MongoReplicaSet> {
  const set = new ReplicaSet();
  for (let index = 0; index < (options.members ?? 3); index += 1) await set.add();
  return set;
}

class ReplicaSet implements MongoReplicaSet {
  readonly members: Member[] = [];
  #term = 1;

  get url(): string {
    return `mongodb://${this.members.map(({ address }) => address).join(',')}/?replicaSet=${SET_NAME}`;
  }

  get term(): number {
    return this.#term;
  }

  async add(): Promise<void> {
    const member = new Member(this, this.members.length === 0 ? 'primary' : 'secondary');
    await member.restart();
    this.members.push(member);
  }

  elect(elected: MongoMember): void {
    this.#term += 1;
    for (const member of this.members) member.role = member === elected ? 'primary' : 'secondary';
  }

  stepDown(): void {
    for (const member of this.members) if (member.role === 'primary') member.role = 'secondary';
  }

  async stop(): Promise<void> {
    await Promise.all(this.members.map((member) => member.kill()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

class Member implements MongoMember {
  role: MongoRole;
  delayMs = 0;
  answer: MongoAnswer | undefined;
  readonly #set: ReplicaSet;
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;
  #port = 0;

  constructor(set: ReplicaSet, role: MongoRole) {
    this.#set = set;
    this.role = role;
  }

  get address(): string {
    return `127.0.0.1:${this.#port}`;
  }

  get connections(): number {
    return this.#sockets.size;
  }

  async restart(): Promise<void> {
    await this.kill();
    const server = createServer((socket) => this.#serve(socket));
    server.listen(this.#port, '127.0.0.1');
    await once(server, 'listening');
    this.#server = server;
    this.#port = (server.address() as AddressInfo).port;
  }

  async kill(): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    this.#server = undefined;
    const closed = once(server, 'close');
    server.close();
    for (const socket of this.#sockets) socket.destroy();
    this.#sockets.clear();
    await closed;
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('close', () => this.#sockets.delete(socket)).on('error', () => socket.destroy());
    let arrived: Buffer = Buffer.alloc(0);
    socket.on('data', (bytes) => {
      arrived = Buffer.concat([arrived, bytes]);
      for (let read = readRequest(arrived); read !== undefined; read = readRequest(arrived)) {
        arrived = read.rest;
        void this.#reply(socket, read.request);
      }
    });
  }

  async #reply(socket: Socket, request: Parameters<typeof encodeReply>[0]): Promise<void> {
    if (this.delayMs === Infinity) return;
    if (this.delayMs > 0) await delay(this.delayMs, undefined, { ref: false });
    const reply = encodeReply(request, this.#answerTo(request.command));
    if (socket.writable) socket.write(reply);
  }

  #answerTo(command: Document): Document {
    const name = (Object.keys(command)[0] ?? '').toLowerCase();
    const own = this.answer?.(name, command);
    if (own !== undefined) return own;
    if (name === 'hello' || name === 'ismaster') return this.#hello();
    if (name === 'replsetgetstatus') return this.#status();
    if (name === 'ping' || name === 'endsessions') return { ok: 1 };
    return { ok: 0, errmsg: `no such command: '${name}'`, code: 59, codeName: 'CommandNotFound' };
  }

  #hello(): Document {
    const primary = this.#set.members.find(({ role }) => role === 'primary');
    return {
      ok: 1,
      helloOk: true,
      ismaster: this.role === 'primary',
      isWritablePrimary: this.role === 'primary',
      secondary: this.role === 'secondary',
      setName: SET_NAME,
      setVersion: 1,
      hosts: this.#set.members.map(({ address }) => address),
      me: this.address,
      ...(primary !== undefined && { primary: primary.address }),
      // Drivers take the highest of these for the true primary.
      ...(this.role === 'primary' && {
        electionId: new ObjectId(`7fffffff${this.#set.term.toString(16).padStart(16, '0')}`),
      }),
      maxBsonObjectSize: 16_777_216,
      maxMessageSizeBytes: 48_000_000,
      maxWriteBatchSize: 100_000,
      logicalSessionTimeoutMinutes: 30,
      localTime: new Date(),
      minWireVersion: 0,
      maxWireVersion: WIRE_VERSION,
    };
  }

  #status(): Document {
    const members = this.#set.members.map((member, index) => ({
      _id: index,
      name: member.address,
      health: member.#server === undefined ? 0 : 1,
      stateStr: member.#server === undefined ? '(not reachable/healthy)' : member.role.toUpperCase(),
      self: member === this,
    }));
    return { ok: 1, set: SET_NAME, myState: { primary: 1, secondary: 2, recovering: 3 }[this.role], members };
  }
}
