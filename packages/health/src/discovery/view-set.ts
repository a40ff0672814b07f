import type { Clock, Logger, Random } from '@xiaoke/core';
import type { ServiceChange, ServiceReader } from './backend.ts';
import type { Instance } from './instance.ts';
import { ServiceSync } from './service-sync.ts';
import { ServiceView } from './service-view.ts';

/** What the views of a registry need. */
export interface ViewSetHost {
  backend(): Promise<ServiceReader>;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly repairMs: number;
  readonly ttlMs: number;
  readonly protectionMs: number;
  /** What this process registered itself: known before the registry has answered. */
  own(service: string): readonly Instance[];
  onChange(view: ServiceView): void;
}

interface Kept {
  readonly view: ServiceView;
  readonly subscribers: Set<() => void>;
  sync: ServiceSync | undefined;
}

/** After a failure the registry is spared questions for so long, in milliseconds. */
const SPARED = 500;
/** Services that are asked for but not watched; the one that was asked for longest ago is forgotten first. */
const MAX_UNWATCHED = 1_000;

/** What this process knows of services: kept up to date for those that are watched, remembered for the others. */
export class ViewSet {
  readonly #host: ViewSetHost;
  readonly #kept = new Map<string, Kept>();
  #failure: { readonly at: number; readonly error: unknown } | undefined;

  constructor(host: ViewSetHost) {
    this.#host = host;
  }

  all(): readonly ServiceView[] {
    return [...this.#kept.values()].map(({ view }) => view);
  }

  get(service: string): ServiceView {
    return this.#keep(service).view;
  }

  /**
   * Asks the registry now; not again right after it could not be asked, where something is known: each caller would wait for
   * the same timeout.
   *
   * @throws what the backend throws, after the view was marked as stale
   */
  async read(view: ServiceView): Promise<void> {
    const failure = this.#failure;
    if (failure !== undefined && view.heard && this.#host.clock.monotonic() - failure.at < SPARED)
      throw failure.error;
    try {
      const backend = await this.#host.backend();
      const asked = view.known;
      const state = await backend.read(view.service, asked);
      this.#failure = undefined;
      if (view.apply(state, asked) === true) this.#changed(view);
    } catch (error) {
      this.#failure = { at: this.#host.clock.monotonic(), error };
      if (view.unreachable()) this.#changed(view);
      throw error;
    }
    if (view.lapse()) this.#changed(view);
  }

  /** Keeps the view up to date as long as anybody wants to hear of it. */
  subscribe(service: string, onChange: () => void): () => void {
    const kept = this.#keep(service);
    kept.subscribers.add(onChange);
    kept.sync ??= new ServiceSync(kept.view, {
      ...this.#host,
      backend: () => this.#host.backend(),
      onChange: (view) => this.#changed(view),
    });
    return () => {
      kept.subscribers.delete(onChange);
      if (kept.subscribers.size > 0) return;
      kept.sync?.close();
      kept.sync = undefined;
    };
  }

  /** A change was told. */
  told(change: ServiceChange): void {
    this.#kept.get(change.service)?.sync?.told(change);
  }

  /** Changes may have been missed. */
  refresh(): void {
    for (const { sync } of this.#kept.values()) sync?.refresh();
  }

  #changed(view: ServiceView): void {
    this.#host.onChange(view);
    for (const subscriber of this.#kept.get(view.service)?.subscribers ?? []) subscriber();
  }

  #keep(service: string): Kept {
    const known = this.#kept.get(service);
    // The order of the map is the order of use.
    if (known) this.#kept.delete(service);
    const kept = known ?? {
      view: new ServiceView(service, this.#host, this.#host.own(service)),
      subscribers: new Set(),
      sync: undefined,
    };
    this.#kept.set(service, kept);
    if (known === undefined) this.#forgetOldest();
    return kept;
  }

  #forgetOldest(): void {
    if (this.#kept.size <= MAX_UNWATCHED) return;
    for (const [service, { sync }] of this.#kept) {
      if (sync !== undefined) continue;
      this.#kept.delete(service);
      return;
    }
  }
}
