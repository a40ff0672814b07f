import type { PriorityIndex } from '../backend.ts';
import type { AmqpMessage } from './amqp.ts';
import type { Offer, Ticket } from './ledger-commands.ts';
import type { Names } from './names.ts';
import type { Outgoing } from './publisher.ts';
import { DELAY_LEVELS, DELAY_UNIT, delayKey } from './topology.ts';
import { delayNames } from './names.ts';

const LONGEST_TICKS = 2 ** DELAY_LEVELS - 1;

/** A message as it was read, with the time before which it does not count. */
export type ReadOffer = Offer & { readonly blob: string; readonly dueAt: number };

/** What a ticket becomes: the text is the body, and a few numbers are all that stands beside it. */
export function messageOf(
  ticket: Ticket,
  way: { readonly names: Names; readonly now: number; readonly plugin: boolean },
): Outgoing & { readonly level: number } {
  const { id, generation, attempts, stalls, queue, priority, dueAt, blob } = ticket;
  const target = way.names.list(queue, priority);
  const delay = dueAt === 0 ? 0 : dueAt - way.now;
  const correlationId =
    attempts + stalls + dueAt === 0 ? String(generation) : `${generation}.${attempts}.${stalls}.${dueAt}`;
  const shared = { text: blob, queue, id, owed: generation, correlationId };
  // What is left of a unit is waited for by the consumer, to the millisecond. The usual message is written out: V8 takes
  // microseconds to add members to an object that was spread.
  if (delay < DELAY_UNIT)
    return {
      text: blob,
      queue,
      id,
      owed: generation,
      correlationId,
      exchange: '',
      routingKey: target,
      level: -1,
    };
  if (way.plugin) {
    const headers = { 'x-delay': Math.min(Math.ceil(delay), 2 ** 32 - 2) };
    const { plugin: exchange } = delayNames;
    return { exchange, routingKey: target, headers, mandatory: false, level: 0, ...shared };
  }
  const ticks = Math.min(Math.floor(delay / DELAY_UNIT), LONGEST_TICKS);
  const level = 31 - Math.clz32(ticks);
  return { exchange: delayNames.exchange(level), routingKey: delayKey(ticks, target), level, ...shared };
}

/** The copy of a dead letter that the broker keeps. */
export function graveOf(ticket: Ticket, names: Names): Outgoing & { readonly level: number } {
  const { id, generation, attempts, stalls, queue, blob } = ticket;
  return {
    text: blob,
    queue,
    id,
    correlationId: `${generation}.${attempts}.${stalls}`,
    exchange: '',
    routingKey: names.dead(queue),
    level: -1,
  };
}

/** Reads a message back. */
export function readOffer(message: AmqpMessage, priority: PriorityIndex): ReadOffer {
  const { messageId, correlationId } = message.properties;
  const text = String(correlationId);
  const [generation = 0, attempts = 0, stalls = 0, dueAt = 0] = text.includes('.')
    ? text.split('.').map(Number)
    : [Number(text)];
  return {
    id: String(messageId),
    generation: Number.isFinite(generation) ? generation : 0,
    priority,
    redelivered: message.fields.redelivered,
    attempts,
    stalls,
    dueAt,
    blob: message.content.toString(),
  };
}
