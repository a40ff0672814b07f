import type { Background } from '@xiaoke/core';
import type { ResolvedQueueOptions } from '../options.ts';
import type { Broker } from './broker.ts';
import { MemoryLedger, type LedgerClient } from './ledger-client.ts';
import type { LedgerLog } from './ledger-log.ts';
import type { LedgerEvents } from './ledger-tables.ts';
import { Ledger } from './ledger.ts';
import { ReplicatedLedger } from './replicated-ledger.ts';
import { StreamLog } from './stream-log.ts';

/** Makes the log in Redis, if there is a Redis. */
export type LedgerLogFactory = (background: Background) => LedgerLog;

/** What a ledger is made of. */
export interface OpenLedgerOptions {
  readonly options: ResolvedQueueOptions;
  readonly broker: Broker;
  readonly background: Background;
  readonly redisLog: LedgerLogFactory | undefined;
  readonly events: LedgerEvents;
}

/** The status store that the options ask for. */
export function openLedger({
  options,
  broker,
  background,
  redisLog,
  events,
}: OpenLedgerOptions): LedgerClient {
  const { clock, logger, retention, maxLogLines, rabbitmqOptions, enqueueTimeoutMs } = options;
  const ledger = new Ledger(retention, maxLogLines, events);
  if (rabbitmqOptions.statusStore === 'memory') return new MemoryLedger(ledger, clock);
  const log =
    redisLog?.(background) ??
    new StreamLog({
      publishing: broker.logging,
      consuming: broker.consuming,
      name: broker.names.ledger,
      snapshots: broker.names.snapshots,
      clock,
      background,
      timeoutMs: enqueueTimeoutMs,
      troubled: (error) => logger.debug({ err: error }, 'a channel of the ledger was lost'),
    });
  return new ReplicatedLedger({
    ledger,
    log,
    clock,
    background,
    snapshotEvery: rabbitmqOptions.snapshotEvery,
  });
}
