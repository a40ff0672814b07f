import { systemClock, type Clock } from '@xiaoke/core';
import {
  type CanaryReport,
  type CommitOutcome,
  type CommitRequest,
  type ConfigStore,
  type StoredCanary,
  type StoredVersion,
  type StoreHead,
  type StoreListener,
} from '../store.ts';

/** Run-time values inside one process. Managers that are given the same instance share it. */
export class MemoryConfigStore implements ConfigStore {
  readonly name = 'memory';
  readonly #clock: Clock;
  readonly #listeners = new Set<StoreListener>();
  readonly #versions = new Map<number, StoredVersion & { readonly document: string }>();
  #head: StoreHead | undefined;
  #lastRequest: { readonly id: string; readonly version: number } | undefined;
  #canary: { readonly canary: StoredCanary; readonly reports: Map<string, CanaryReport> } | undefined;

  constructor(clock: Clock = systemClock) {
    this.#clock = clock;
  }

  async read(): Promise<StoreHead | undefined> {
    return this.#head;
  }

  async commit(request: CommitRequest): Promise<CommitOutcome> {
    if (this.#lastRequest?.id === request.request) {
      return { outcome: 'committed', version: this.#lastRequest.version };
    }
    const { expected, document, digest, trail, meta } = request;
    const current = this.#head?.version ?? 0;
    if (current !== expected.version || (this.#head?.digest ?? expected.digest) !== expected.digest) {
      return { outcome: 'conflict', currentVersion: current };
    }
    const version = request.version ?? current + 1;
    this.#head = { version, digest, document, trail };
    this.#versions.set(version, { version, at: this.#clock.now(), meta, document });
    for (const old of [...this.#versions.keys()].sort((a, b) => b - a).slice(request.maxVersions)) {
      this.#versions.delete(old);
    }
    this.#lastRequest = { id: request.request, version };
    this.#hint();
    return { outcome: 'committed', version };
  }

  async history(): Promise<readonly StoredVersion[]> {
    const kept = [...this.#versions.values()].sort((a, b) => b.version - a.version);
    return kept.map(({ version, at, meta }) => ({ version, at, meta }));
  }

  async document(version: number): Promise<string | undefined> {
    return this.#versions.get(version)?.document;
  }

  async canary(): Promise<{ canary: StoredCanary; reports: readonly CanaryReport[] } | undefined> {
    return this.#canary && { canary: this.#canary.canary, reports: [...this.#canary.reports.values()] };
  }

  async startCanary(canary: Omit<StoredCanary, 'startedAt'>): Promise<boolean> {
    if (this.#canary !== undefined) return false;
    this.#canary = { canary: { ...canary, startedAt: this.#clock.now() }, reports: new Map() };
    this.#hint();
    return true;
  }

  async endCanary(id: string): Promise<boolean> {
    if (this.#canary?.canary.id !== id) return false;
    this.#canary = undefined;
    this.#hint();
    return true;
  }

  async reportCanary(id: string, report: CanaryReport): Promise<void> {
    if (this.#canary?.canary.id !== id) return;
    this.#canary.reports.set(report.instance, report);
    this.#hint();
  }

  async follow(listener: StoreListener): Promise<void> {
    this.#listeners.add(listener);
    listener.onAvailable();
  }

  async close(): Promise<void> {
    // The values stay for whoever else was given this store.
    this.#listeners.clear();
  }

  #hint(): void {
    for (const listener of this.#listeners) listener.onHint();
  }
}
