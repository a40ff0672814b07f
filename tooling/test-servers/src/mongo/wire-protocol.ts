import { deserialize, serialize, type Document } from 'bson';

/** A command as a driver sent it, and what is needed to answer it. */
export interface WireRequest {
  readonly id: number;
  readonly opcode: number;
  readonly command: Document;
}

const OP_REPLY = 1;
const OP_QUERY = 2004;
const OP_MSG = 2013;
const HEADER_BYTES = 16;

/**
 * Cuts the first whole message from what has arrived.
 *
 * Of the protocol it knows what a driver sends for commands: OP_MSG with one body section, and the OP_QUERY of an old
 * handshake. https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/
 *
 * @returns the request and what follows it, or `undefined` while it is incomplete.
 * @throws Error on any other operation.
 */
export function readRequest(bytes: Buffer): { request: WireRequest; rest: Buffer } | undefined {
  if (bytes.length < HEADER_BYTES || bytes.length < bytes.readInt32LE(0)) return undefined;
  const message = bytes.subarray(0, bytes.readInt32LE(0));
  const opcode = message.readInt32LE(12);
  const request = { id: message.readInt32LE(4), opcode, command: deserialize(bodyOf(message, opcode)) };
  return { request, rest: bytes.subarray(message.length) };
}

/** The bytes of an answer, in the shape that the request's operation asks for. */
export function encodeReply(request: WireRequest, document: Document): Buffer {
  const body = serialize(document);
  const modern = request.opcode === OP_MSG;
  // OP_MSG: flags, then the kind of the section. OP_REPLY: flags, cursor (8), start, number of documents.
  const head = Buffer.alloc(HEADER_BYTES + (modern ? 5 : 20));
  head.writeInt32LE(head.length + body.length, 0);
  head.writeInt32LE(request.id, 8);
  head.writeInt32LE(modern ? OP_MSG : OP_REPLY, 12);
  if (!modern) head.writeInt32LE(1, HEADER_BYTES + 16);
  return Buffer.concat([head, body]);
}

function bodyOf(message: Buffer, opcode: number): Buffer {
  if (opcode === OP_MSG) return message.subarray(HEADER_BYTES + 5);
  if (opcode !== OP_QUERY) throw new Error(`Operation ${opcode} is not spoken here`);
  // Flags, the collection's name as a C string, two numbers, the query.
  const start = message.indexOf(0, HEADER_BYTES + 4) + 1 + 8;
  return message.subarray(start, start + message.readInt32LE(start));
}
