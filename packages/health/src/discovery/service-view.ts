import type { Clock } from '@xiaoke/core';
import type { ServiceChange, ServiceContent, ServiceState } from './backend.ts';
import { decodeInstance, type Instance } from './instance.ts';
import type { CompiledFilter, ServiceSnapshot } from './snapshot.ts';

interface Entry {
  readonly instance: Instance;
  /** The registry misses it; until then it is kept all the same. */
  readonly suspectUntil: number | undefined;
}

/** How long a view believes what the registry has forgotten. */
export interface ViewOptions {
  readonly clock: Clock;
  /** How long an instance outlives its lease when most of them end at once, in milliseconds. */
  readonly protectionMs: number;
  /** One lease: how long absences are in doubt after lost contact or data, and how long what is in doubt is kept, at least. */
  readonly ttlMs: number;
}

// Who lives comes back as soon as it is connected again, and that takes a client up to two seconds.
const MIN_DOUBT = 5_000;
// Below this many, to lose most of them is an ordinary crash, not a sign that the registry has gone blind.
const MASS_OF = 3;

/**
 * What one process knows of one service, and how far it believes the registry.
 *
 * An instance that said goodbye, or whose lease ended while everything worked, is gone. Where the absence is in doubt it
 * stays, for a bounded time. One lease, and at least five seconds: when the registry lost its data (another epoch), could not be reached, so that
 * nobody could renew, or was taken back to an older version by a failover; whoever lives is back within a heartbeat then.
 * `protectionMs`: when more than half of at least three instances vanish within one lease.
 */
export class ServiceView {
  readonly service: string;
  readonly #options: ViewOptions;
  #entries = new Map<string, Entry>();
  #expired: { readonly id: string; readonly at: number }[] = [];
  #epoch: string | undefined;
  #version = 0;
  #shown = 0;
  #contact: number | undefined;
  #stale = true;
  #doubtUntil = 0;

  constructor(service: string, options: ViewOptions, seed: readonly Instance[] = []) {
    this.service = service;
    this.#options = options;
    for (const instance of seed) this.#entries.set(instance.id, { instance, suspectUntil: undefined });
  }

  /** Whether the registry has ever answered. */
  get heard(): boolean {
    return this.#contact !== undefined;
  }

  get size(): number {
    return this.#entries.size;
  }

  get stale(): boolean {
    return this.#stale;
  }

  /** What a reader need not be sent again. */
  get known(): { readonly epoch: string; readonly version: number } | undefined {
    return this.#epoch === undefined ? undefined : { epoch: this.#epoch, version: this.#version };
  }

  /** Milliseconds until the next suspect is let go. */
  get nextLapseMs(): number | undefined {
    let next = Infinity;
    for (const { suspectUntil = Infinity } of this.#entries.values()) next = Math.min(next, suspectUntil);
    return next === Infinity ? undefined : Math.max(0, next - this.#now());
  }

  snapshot({ matches, routable }: CompiledFilter): ServiceSnapshot {
    const all = [...this.#entries.values()].map(({ instance }) => instance).filter(matches);
    const suspects = [...this.#entries.values()].filter(({ suspectUntil }) => suspectUntil !== undefined);
    return Object.freeze({
      service: this.service,
      instances: Object.freeze(all.filter(routable)),
      unroutable: Object.freeze(all.filter((instance) => !routable(instance))),
      stale: this.#stale,
      version: this.#shown,
      ageMs: this.#contact === undefined ? 0 : this.#now() - this.#contact,
      suspects: Object.freeze(suspects.map(({ instance }) => instance.id)),
    });
  }

  /** Notes that the registry could not be asked. Returns whether that is news. */
  unreachable(): boolean {
    const news = !this.#stale;
    this.#stale = true;
    return news;
  }

  /**
   * Takes in an answer to a question that was asked knowing `asked`. Returns whether anything changed, or `outdated` if
   * changes that were told meanwhile are newer than the answer.
   */
  apply(state: ServiceState, asked: ServiceView['known']): boolean | 'outdated' {
    const sameEpoch = state.epoch === this.#epoch;
    if (sameEpoch && state.version < this.#version && asked?.version !== this.#version) return 'outdated';
    const backwards = sameEpoch && state.version < this.#version;
    // The empty epoch is a service that nobody has registered yet.
    const lost = Boolean(this.#epoch) && !sameEpoch;
    const regained = this.#stale && this.heard;
    if (lost || backwards || regained) this.#doubtUntil = this.#now() + this.#doubtMs;
    const changed = state.content === undefined ? false : this.#merge(state.content);
    this.#epoch = state.epoch;
    this.#version = state.version;
    const news = this.#heardNow();
    this.#show(changed || news);
    return changed || news;
  }

  /** Takes in one change. Returns `undefined` if it does not follow on what is known, and the whole has to be read. */
  applyChange({ epoch, version, kind, id, body }: ServiceChange): boolean | undefined {
    if (epoch !== this.#epoch || this.#stale) return undefined;
    if (version <= this.#version) return false;
    if (version !== this.#version + 1) return undefined;
    this.#version = version;
    if (kind === 'leave') this.#entries.delete(id);
    else if (kind === 'expire') this.#miss(id);
    else this.#put(id, body ?? '');
    this.#show(true);
    return true;
  }

  /** Lets go of suspects whose time is over. Returns whether there were any. */
  lapse(): boolean {
    const now = this.#now();
    const before = this.#entries.size;
    for (const [id, { suspectUntil = Infinity }] of this.#entries)
      if (suspectUntil <= now) this.#entries.delete(id);
    const changed = this.#entries.size !== before;
    if (changed) this.#show(true);
    return changed;
  }

  #merge({ records, departed }: ServiceContent): boolean {
    const before = this.#entries;
    const gone = new Set(departed);
    const present = new Set(records.map(({ id }) => id));
    this.#entries = new Map(before);
    for (const { id, body } of records) this.#put(id, body);
    for (const id of before.keys()) {
      if (present.has(id)) continue;
      if (gone.has(id)) this.#entries.delete(id);
      else this.#miss(id);
    }
    return !sameEntries(before, this.#entries);
  }

  #put(id: string, body: string): void {
    const instance = decodeInstance(body, this.service);
    if (instance === undefined || instance.id !== id) return;
    const known = this.#entries.get(id);
    // The same object as long as nothing changed, so that consumers can compare by identity.
    const same = known !== undefined && JSON.stringify(known.instance) === JSON.stringify(instance);
    this.#entries.set(id, { instance: same ? known.instance : instance, suspectUntil: undefined });
    this.#expired = this.#expired.filter((each) => each.id !== id);
  }

  #miss(id: string): void {
    const entry = this.#entries.get(id);
    if (entry === undefined || entry.suspectUntil !== undefined) return;
    const now = this.#now();
    this.#expired = this.#expired.filter(({ at }) => at > now - this.#options.ttlMs);
    this.#expired.push({ id, at: now });
    const { protectionMs } = this.#options;
    const total = this.#entries.size + this.#expired.filter((each) => !this.#entries.has(each.id)).length;
    const mass = total >= MASS_OF && this.#expired.length > total / 2;
    const keepMs = Math.max(now < this.#doubtUntil ? this.#doubtMs : 0, mass ? protectionMs : 0);
    if (keepMs === 0) this.#entries.delete(id);
    else this.#entries.set(id, { ...entry, suspectUntil: now + keepMs });
  }

  get #doubtMs(): number {
    return Math.max(this.#options.ttlMs, MIN_DOUBT);
  }

  #heardNow(): boolean {
    const news = this.#stale;
    this.#stale = false;
    this.#contact = this.#now();
    return news;
  }

  #show(changed: boolean): void {
    this.#shown = Math.max(this.#version, changed ? this.#shown + 1 : this.#shown);
  }

  #now(): number {
    return this.#options.clock.monotonic();
  }
}

function sameEntries(before: ReadonlyMap<string, Entry>, after: ReadonlyMap<string, Entry>): boolean {
  if (before.size !== after.size) return false;
  for (const [id, { instance, suspectUntil }] of after) {
    const known = before.get(id);
    if (known?.instance !== instance || known.suspectUntil !== suspectUntil) return false;
  }
  return true;
}
