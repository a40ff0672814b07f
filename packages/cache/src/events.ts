import type { WithError } from '@xiaoke/core';
import type { EvictionReason } from './memory/entry-store.ts';

/** Where something was found or happened. */
export type Tier = 'memory' | 'redis';

/** How a load ended. */
export interface LoadEnd {
  readonly durationMs: number;
  /** `timeout` once the loader is late, whatever it does then. */
  readonly outcome: 'success' | 'failure' | 'timeout';
  readonly fenced: boolean;
  readonly error?: unknown;
}

/** The events of a cache, with the arguments of their listeners. An `error` event is raised for what went wrong in the background. */
export type CacheEvents = {
  /** A read gave a value; `stale` tells whether it was past its ttl. */
  hit: [event: { readonly key: string; readonly tier: Tier; readonly stale: boolean }];
  /** A read found nothing in any tier. */
  miss: [event: { readonly key: string }];
  set: [event: { readonly key: string }];
  delete: [event: { readonly key: string }];
  /** An entry left the first tier. */
  evict: [event: { readonly key: string; readonly reason: EvictionReason }];
  /** A load has ended. `fenced` tells that its value was not kept, because it was invalidated or overwritten meanwhile. */
  load: [event: LoadEnd & { readonly key: string }];
  /** Something was invalidated as a whole, here or in another process. */
  invalidate: [
    event: {
      readonly tags: readonly string[];
      readonly namespace?: string;
      readonly origin: 'local' | 'remote';
    },
  ];
  /** An invalidation was missed: the first tier is not trusted until read again. */
  gap: [];
  /** Redis is used again, or left aside. */
  redis: [event: { readonly state: 'up' | 'down'; readonly reason?: string }];
  /** A stored value could not be decoded and was treated as absent. */
  reject: [event: { readonly key: string; readonly reason: string }];
};

/** The name of an event, `error` included. */
export type CacheEvent = keyof WithError<CacheEvents>;

/** What listens to an event. */
export type CacheListener<E extends CacheEvent> = (...args: WithError<CacheEvents>[E]) => unknown;
