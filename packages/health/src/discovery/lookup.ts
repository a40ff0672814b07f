import type { Clock, Logger } from '@xiaoke/core';
import { DiscoveryError } from './errors.ts';
import { serviceName } from './instance.ts';
import type { WatchOptions } from './registry.ts';
import { SourceWatch, type ServiceWatch } from './service-watch.ts';
import { compileFilter, type InstanceFilter, type ServiceSnapshot } from './snapshot.ts';
import { ViewSet, type ViewSetHost } from './view-set.ts';

/** What looking up needs. */
export interface LookupHost extends ViewSetHost {
  readonly clock: Clock;
  readonly logger: Logger;
}

/** The reading half of a registry: answers and watches over what its backend says. */
export class Lookup {
  readonly views: ViewSet;
  readonly watches: Set<ServiceWatch> = new Set();
  readonly #host: LookupHost;
  #closed = false;

  constructor(host: LookupHost) {
    this.#host = host;
    this.views = new ViewSet(host);
  }

  get closed(): boolean {
    return this.#closed;
  }

  async discover(service: string, filter: InstanceFilter | undefined): Promise<ServiceSnapshot> {
    const compiled = compileFilter(filter);
    const name = serviceName(service);
    this.refuseClosed();
    const view = this.views.get(name);
    try {
      await this.views.read(view);
    } catch (error) {
      if (!view.heard && view.size === 0) throw unavailable(error);
    }
    return view.snapshot(compiled);
  }

  watch(service: string, options: WatchOptions): ServiceWatch {
    const filter = compileFilter(options.filter);
    const name = serviceName(service);
    this.refuseClosed();
    const { clock, logger } = this.#host;
    const source = {
      clock,
      logger,
      snapshot: () => this.views.get(name).snapshot(filter),
      heard: () => this.views.get(name).heard,
      open: (onChange: () => void, watch: ServiceWatch) => {
        this.watches.add(watch);
        const stop = this.views.subscribe(name, onChange);
        return () => {
          this.watches.delete(watch);
          stop();
        };
      },
    };
    return new SourceWatch(name, source, options.signal);
  }

  close(): void {
    this.#closed = true;
    for (const watch of this.watches) watch.close();
  }

  refuseClosed(): void {
    if (this.#closed) throw new DiscoveryError('REGISTRY_CLOSED', 'The registry is closed');
  }
}

/** The registry could not be asked, and nothing is known. */
export function unavailable(cause: unknown): DiscoveryError {
  return new DiscoveryError('REGISTRY_UNAVAILABLE', 'The registry could not be asked', { cause });
}
