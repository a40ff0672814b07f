import { randomUUID } from 'node:crypto';
import type { Clock, Logger } from '@xiaoke/core';
import type { HealthCheckManager } from '../manager.ts';
import type { BeatOutcome, RegistrationRecord, RegistryBackend } from './backend.ts';
import { DiscoveryError } from './errors.ts';
import type { Lease } from './options.ts';
import {
  encodeInstance,
  resolveInstance,
  type Instance,
  type InstanceStatus,
  type InstanceUpdate,
} from './instance.ts';

/**
 * What became of a registration: `lost` while the registry cannot be reached and the lease may have ended, `replaced` when
 * another process registered under the same id, `closed` after it was taken back.
 */
export type RegistrationState = 'registered' | 'lost' | 'replaced' | 'closed';

/** An instance that is registered, and stays so until it is disposed of: its lease is renewed in the background. */
export interface Registration extends AsyncDisposable {
  readonly id: string;
  readonly service: string;
  /** As it is written down. */
  readonly instance: Instance;
  readonly state: RegistrationState;
  /** Tells every consumer; `draining` takes new traffic away and leaves the instance known. */
  setStatus(status: InstanceStatus): Promise<void>;
  /** Changes anything but id and service. */
  update(change: InstanceUpdate): Promise<void>;
  /** From now on its status follows that of a group of checks. Returns the function that ends it. */
  bindHealth(manager: HealthCheckManager, group?: string): () => void;
  /** Says goodbye: consumers drop it at once. Idempotent. */
  deregister(): Promise<void>;
}

/** What a registration needs of its registry. */
export interface RegistrationHost {
  backend(): Promise<RegistryBackend>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly lease: Lease;
  onEvent(kind: 'lost' | 'reregistered' | 'replaced', registration: Registration): void;
  onClosed(registration: HeldRegistration): void;
}

/** The registration behind {@link Registration}. */
export class HeldRegistration implements Registration {
  readonly id: string;
  readonly service: string;
  readonly #host: RegistrationHost;
  readonly #owner = randomUUID();
  readonly #bindings = new Set<() => void>();
  #instance: Instance;
  #record: RegistrationRecord | undefined;
  #state: RegistrationState = 'registered';
  #confirmedAt: number;
  /** The registry may hold something older than `#instance`. */
  #dirty = false;
  /** What is written goes out in order: a goodbye must not be overtaken by what it takes back. */
  #writes: Promise<unknown> = Promise.resolve();

  constructor(instance: Instance, host: RegistrationHost) {
    this.id = instance.id;
    this.service = instance.service;
    this.#instance = instance;
    this.#host = host;
    this.#confirmedAt = host.clock.monotonic();
  }

  get instance(): Instance {
    return this.#instance;
  }

  get state(): RegistrationState {
    return this.#state;
  }

  get heartbeatMs(): number {
    return this.#host.lease.heartbeatMs;
  }

  /** As it is written down now; made anew only when something changed. */
  get record(): RegistrationRecord {
    const { id, service } = this;
    const { ttlMs } = this.#host.lease;
    this.#record ??= { id, service, owner: this.#owner, ttlMs, body: encodeInstance(this.#instance) };
    return this.#record;
  }

  /** Writes it down. @throws `REGISTRY_UNAVAILABLE` */
  write(): Promise<void> {
    return this.#inOrder(async (backend) => {
      if (this.#state === 'closed' || this.#state === 'replaced') return;
      this.#dirty = true;
      const from = this.#host.clock.monotonic();
      await backend.put(this.record);
      this.#dirty = false;
      this.#confirmedAt = from;
      this.#state = 'registered';
    });
  }

  /** Takes in what a heartbeat brought; gives a promise, which never rejects, where something is to be done about it. */
  beaten(outcome: BeatOutcome | undefined, at: number): Promise<void> | undefined {
    if (this.#state === 'closed' || this.#state === 'replaced') return undefined;
    if (outcome === 'renewed' && !this.#dirty) {
      this.#confirmedAt = at;
      this.#state = 'registered';
      return undefined;
    }
    if (outcome === 'replaced') this.#replaced();
    else if (outcome === undefined) this.#missedBeat();
    else return this.#writeAgain(outcome);
    return undefined;
  }

  async #writeAgain(outcome: BeatOutcome): Promise<void> {
    try {
      await this.write();
      if (outcome === 'unknown') this.#host.onEvent('reregistered', this);
    } catch (error) {
      this.#host.logger.debug({ err: error, id: this.id }, 'an instance could not be registered again yet');
      this.#missedBeat();
    }
  }

  async setStatus(status: InstanceStatus): Promise<void> {
    await this.update({ status });
  }

  async update(change: InstanceUpdate): Promise<void> {
    if (this.#state === 'closed')
      throw new DiscoveryError('REGISTRY_CLOSED', 'The registration was taken back');
    const { id, service, registeredAt } = this.#instance;
    this.#instance = resolveInstance({ ...this.#instance, ...change, id, service }, registeredAt);
    this.#record = undefined;
    // Kept even if it cannot be told now: the next heartbeat writes it down.
    this.#dirty = true;
    await this.write();
  }

  bindHealth(manager: HealthCheckManager, group = 'readiness'): () => void {
    const follow = (): void => {
      // A drain is the owner's decision, and no check takes it back.
      const status = manager.status(group);
      if (
        this.#state === 'closed' ||
        this.#instance.status === 'draining' ||
        this.#instance.status === status
      )
        return;
      this.setStatus(status).catch((error: unknown) =>
        this.#host.logger.warn({ err: error, id: this.id }, 'a status could not be told yet'),
      );
    };
    const unbind = manager.addStatusChangeCallback(follow, { group });
    this.#bindings.add(unbind);
    follow();
    return () => {
      unbind();
      this.#bindings.delete(unbind);
    };
  }

  async deregister(): Promise<void> {
    if (this.#state === 'closed') return;
    const replaced = this.#state === 'replaced';
    this.#state = 'closed';
    for (const unbind of this.#bindings) unbind();
    this.#host.onClosed(this);
    if (replaced) return;
    try {
      await this.#inOrder((backend) => backend.leave(this.record));
    } catch (error) {
      // Nothing is renewed any more, so the lease ends by itself.
      this.#host.logger.warn({ err: error, id: this.id }, 'a goodbye could not be said; the lease will end');
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.deregister();
  }

  #replaced(): void {
    this.#state = 'replaced';
    this.#host.logger.warn(
      { id: this.id, service: this.service },
      'another process registered under this id',
    );
    this.#host.onEvent('replaced', this);
    this.#host.onClosed(this);
  }

  #missedBeat(): void {
    const late = this.#host.clock.monotonic() - this.#confirmedAt;
    if (this.#state !== 'registered' || late < this.#host.lease.ttlMs) return;
    this.#state = 'lost';
    this.#host.onEvent('lost', this);
  }

  async #inOrder<T>(work: (backend: RegistryBackend) => Promise<T>): Promise<T> {
    const turn = this.#writes.then(async () => await work(await this.#host.backend()));
    this.#writes = turn.catch(() => {});
    try {
      return await turn;
    } catch (error) {
      throw new DiscoveryError('REGISTRY_UNAVAILABLE', 'The registry could not be written to', {
        cause: error,
      });
    }
  }
}
