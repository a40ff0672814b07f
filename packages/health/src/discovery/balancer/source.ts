import { Background, InvalidOptionError, sleep, type Clock, type Logger } from '@xiaoke/core';
import type { Instance, InstanceInit } from '../instance.ts';
import { resolveGiven } from '../static-registry.ts';
import type { ServiceDiscovery } from '../registry.ts';
import type { ServiceWatch } from '../service-watch.ts';
import type { ServiceSnapshot } from '../snapshot.ts';

/** An instance for a balancer that has no registry: a URL, or what is known of it. */
export type GivenInstance =
  | string
  | URL
  | (Omit<InstanceInit, 'id' | 'service'> & { readonly id?: string; readonly service?: string });

/** What a source can say at one time. */
export type GivenInstances = readonly GivenInstance[] | { readonly instances: readonly GivenInstance[] };

/**
 * Where a balancer has its instances from: a watch (which is closed with the balancer), a registry together with the option
 * `service`, a fixed list, a snapshot, a stream of either, or a function that is asked again and again.
 */
export type BalancerSource =
  | ServiceWatch
  | ServiceDiscovery
  | GivenInstances
  | AsyncIterable<GivenInstances>
  | (() => GivenInstances | Promise<GivenInstances>);

/** A source that is being read. */
export interface Feed {
  /** Resolves when the first instances have come. */
  readonly first: Promise<unknown>;
  close(): void;
}

/** What reading a source needs. */
export interface FeedHost {
  readonly service: string | undefined;
  readonly refreshMs: number;
  readonly clock: Clock;
  readonly logger: Logger;
  onInstances(instances: readonly Instance[]): void;
}

/** Begins to read a source; what is known at once is told before this returns. @throws `INVALID_OPTION` */
export function openSource(source: BalancerSource, host: FeedHost): Feed {
  if (typeof source === 'function') return new PolledFeed(source, host);
  if (typeof source !== 'object' || source === null) throw unusable();
  if (isWatch(source)) return watchFeed(source, host);
  if (isRegistry(source)) {
    if (host.service === undefined)
      throw new InvalidOptionError('service', 'must name the service to watch in the registry');
    return watchFeed(source.watch(host.service), host);
  }
  if (Symbol.asyncIterator in source) return new StreamFeed(source, host);
  host.onInstances(given(source));
  return { first: Promise.resolve(), close: () => {} };
}

function watchFeed(watch: ServiceWatch, host: FeedHost): Feed {
  const tell = ({ instances, unroutable }: ServiceSnapshot): void =>
    host.onInstances([...instances, ...unroutable]);
  const forget = watch.onChange(tell);
  tell(watch.current);
  const first = watch.ready();
  // Nobody may be waiting for it.
  first.catch(() => {});
  return {
    first,
    close: () => {
      forget();
      watch.close();
    },
  };
}

/** A stream of instances. */
class StreamFeed implements Feed {
  readonly first: Promise<unknown>;
  readonly #iterator: AsyncIterator<GivenInstances>;
  readonly #background: Background;

  constructor(stream: AsyncIterable<GivenInstances>, host: FeedHost) {
    this.#iterator = stream[Symbol.asyncIterator]();
    this.#background = new Background({ logger: host.logger });
    this.first = new Promise((resolve) => {
      this.#background.run(async () => {
        for (;;) {
          const { done, value } = await this.#iterator.next();
          if (done === true) return;
          host.onInstances(given(value));
          resolve(undefined);
        }
      }, 'read the instances of a balancer');
    });
  }

  close(): void {
    this.#background.run(async () => await this.#iterator.return?.(), 'end the source of a balancer');
  }
}

/** A function that is asked again and again; what it said last stands while it fails. */
class PolledFeed implements Feed {
  readonly first: Promise<unknown>;
  readonly #closing = new AbortController();

  constructor(ask: () => GivenInstances | Promise<GivenInstances>, host: FeedHost) {
    const background = new Background({ logger: host.logger });
    this.first = new Promise((resolve) => {
      background.run(async () => {
        while (!this.#closing.signal.aborted) {
          try {
            host.onInstances(given(await ask()));
            resolve(undefined);
          } catch (error) {
            host.logger.warn({ err: error }, 'the source of a balancer could not be asked');
          }
          const options = { clock: host.clock, signal: this.#closing.signal, ref: false };
          await sleep(host.refreshMs, options).catch(() => {});
        }
      }, 'ask for the instances of a balancer');
    });
  }

  close(): void {
    this.#closing.abort();
  }
}

function given(said: GivenInstances): readonly Instance[] {
  const list: unknown = Array.isArray(said) ? said : (said as { readonly instances?: unknown }).instances;
  if (!Array.isArray(list)) throw unusable();
  const unroutable = 'unroutable' in said && Array.isArray(said.unroutable) ? said.unroutable : [];
  return [...list, ...unroutable].map((entry) => resolveGiven(entry as GivenInstance, 'static'));
}

function isWatch(source: object): source is ServiceWatch {
  return 'onChange' in source && 'current' in source;
}

function isRegistry(source: object): source is ServiceDiscovery {
  return 'watch' in source && typeof source.watch === 'function';
}

function unusable(): InvalidOptionError {
  return new InvalidOptionError(
    'source',
    'must be a watch, a registry, a list of instances, a stream or a function',
  );
}
