import { randomUUID } from 'node:crypto';
import type { Clock } from '@xiaoke/core';
import type {
  BackendListener,
  BeatOutcome,
  RegistrationRecord,
  RegistryBackend,
  ServiceChange,
  ServiceState,
} from '../backend.ts';

interface Entry {
  readonly id: string;
  readonly body: string;
  readonly owner: string;
  readonly endsAt: number;
}

interface Service {
  readonly entries: Map<string, Entry>;
  readonly departed: Map<string, number>;
  version: number;
}

type Told = (change: ServiceChange) => void;

/** How long it is remembered that an instance said goodbye, in milliseconds. */
const GOODBYE_MS = 10 * 60_000;

/** What the registries of one process share. */
class Store {
  readonly epoch = randomUUID();
  readonly services = new Map<string, Service>();
  readonly listeners = new Set<Told>();
}

const stores = new WeakMap<Clock, Map<string, Store>>();

/** Registries of one process that share a namespace share their instances, as they would in Redis. */
function storeOf(clock: Clock, namespace: string): Store {
  const ofClock = stores.get(clock) ?? new Map<string, Store>();
  stores.set(clock, ofClock);
  const store = ofClock.get(namespace) ?? new Store();
  ofClock.set(namespace, store);
  return store;
}

/** Instances in this process: the same rules as Redis, without a server. */
export class MemoryBackend implements RegistryBackend {
  readonly #clock: Clock;
  readonly #store: Store;
  readonly #listening = new Set<string>();
  #told: Told = () => {};

  constructor(clock: Clock, namespace: string) {
    this.#clock = clock;
    this.#store = storeOf(clock, namespace);
  }

  async start(listener: BackendListener): Promise<void> {
    this.#told = (change) => {
      if (this.#listening.has(change.service)) listener.onChange(change);
    };
    this.#store.listeners.add(this.#told);
  }

  async put({ service: name, id, owner, ttlMs, body }: RegistrationRecord): Promise<number> {
    const service = this.#service(name);
    this.#store.services.set(name, service);
    const before = service.entries.get(id);
    service.entries.set(id, { id, body, owner, endsAt: this.#clock.monotonic() + ttlMs });
    service.departed.delete(id);
    if (before?.owner !== owner || before.body !== body) this.#bump(service, { name, kind: 'put', id, body });
    return service.version;
  }

  async beat(records: readonly RegistrationRecord[]): Promise<readonly BeatOutcome[]> {
    return records.map(({ service, id, owner, ttlMs }) => {
      const { entries } = this.#service(service);
      const entry = entries.get(id);
      if (entry === undefined) return 'unknown';
      if (entry.owner !== owner) return 'replaced';
      entries.set(id, { ...entry, endsAt: this.#clock.monotonic() + ttlMs });
      return 'renewed';
    });
  }

  async leave({ service: name, id, owner }: Parameters<RegistryBackend['leave']>[0]): Promise<void> {
    const service = this.#service(name);
    if (service.entries.get(id)?.owner !== owner) return;
    service.entries.delete(id);
    service.departed.set(id, this.#clock.monotonic());
    this.#bump(service, { name, kind: 'leave', id });
  }

  async read(name: string, known?: Parameters<RegistryBackend['read']>[1]): Promise<ServiceState> {
    const { entries, departed, version } = this.#service(name);
    const now = this.#clock.monotonic();
    const ends = [...entries.values()].map(({ endsAt }) => endsAt - now);
    return {
      epoch: this.#store.epoch,
      version,
      nextExpiryMs: ends.length === 0 ? undefined : Math.min(...ends),
      content:
        known?.epoch === this.#store.epoch && known.version === version
          ? undefined
          : {
              records: [...entries.values()].map(({ id, body }) => ({ id, body })),
              departed: [...departed.keys()],
            },
    };
  }

  async services(): Promise<readonly string[]> {
    const names = [...this.#store.services.keys()];
    return names.filter((name) => this.#service(name).entries.size > 0).toSorted();
  }

  async listen(service: string): Promise<void> {
    this.#listening.add(service);
  }

  async unlisten(service: string): Promise<void> {
    this.#listening.delete(service);
  }

  async close(): Promise<void> {
    this.#store.listeners.delete(this.#told);
  }

  #service(name: string): Service {
    // Asking for a name leaves nothing behind; only to register does.
    const known = this.#store.services.get(name);
    const service = known ?? { entries: new Map(), departed: new Map(), version: 0 };
    this.#sweep(name, service);
    return service;
  }

  #sweep(name: string, service: Service): void {
    const now = this.#clock.monotonic();
    for (const { id, endsAt } of service.entries.values()) {
      if (endsAt > now) continue;
      service.entries.delete(id);
      this.#bump(service, { name, kind: 'expire', id });
    }
    for (const [id, at] of service.departed) if (at < now - GOODBYE_MS) service.departed.delete(id);
  }

  #bump(
    service: Service,
    change: {
      readonly name: string;
      readonly id: string;
      readonly kind: ServiceChange['kind'];
      body?: string;
    },
  ): void {
    service.version += 1;
    const { epoch } = this.#store;
    const { version } = service;
    const told = {
      service: change.name,
      epoch,
      version,
      kind: change.kind,
      id: change.id,
      body: change.body,
    };
    for (const listener of this.#store.listeners) listener(told);
  }
}
