import { Background, IsolatedEmitter, withTimeout } from '@xiaoke/core';
import type { ChangeCause } from './change.ts';
import { Engine, type Candidate } from './engine.ts';
import { ConfigError, ConfigInvalidError } from './errors.ts';
import type { ConfigEvents } from './events.ts';
import { ReloadLog } from './history.ts';
import type { Layer } from './layer.ts';
import { ConfigMetrics, type ReloadOutcome } from './metrics.ts';
import type { ResolvedOptions } from './options.ts';
import type { SecretRules } from './secrets.ts';
import { Serial } from './serial.ts';
import type { SourceSlot } from './source.ts';
import type { ConfigState, ConfigStats, SourceStatus } from './status.ts';
import { Subscriptions } from './subscriptions.ts';

/** Codes of problems that do not make the configuration wrong, only old. */
const STALE_CODES: ReadonlySet<string> = new Set(['CONFIG_STORE_UNAVAILABLE', 'CONFIG_REMOTE_UNAVAILABLE']);

/** Updates that come from a source; those of the store are versions. */
const RELOADS: ReadonlySet<ChangeCause['kind']> = new Set(['file', 'source', 'remote', 'environment']);

// Files that are swapped together are read within a few milliseconds, and then make one update instead of several.
const GATHER = 1_000;

/** What is counted. */
export type UpdateCounts = {
  -readonly [
    K in
      | 'applied'
      | 'unchanged'
      | 'rejected'
      | 'commits'
      | 'conflicts'
      | 'rollbacks'
      | 'regressions'
      | 'callbackErrors'
  ]: ConfigStats[K];
};

/** Takes updates in, one at a time, and tells what became of them. */
export class Updates {
  readonly engine: Engine;
  readonly events: IsolatedEmitter<ConfigEvents>;
  readonly subscriptions: Subscriptions;
  readonly metrics: ConfigMetrics;
  readonly reloads: ReloadLog;
  readonly background: Background;
  readonly serial: Serial = new Serial();
  readonly counts: UpdateCounts = {
    applied: 0,
    unchanged: 0,
    rejected: 0,
    commits: 0,
    conflicts: 0,
    rollbacks: 0,
    regressions: 0,
    callbackErrors: 0,
  };
  /** Reads under way that will give a document very soon. */
  readonly reading: Set<Promise<unknown>> = new Set();
  readonly #ended = new AbortController();
  /** Called after each update that was put in force. */
  onApplied: () => void = () => {};
  readonly #options: ResolvedOptions;
  readonly #pending = new Map<SourceSlot, ChangeCause>();
  #scheduled = false;
  #state: ConfigState = 'starting';

  constructor(options: ResolvedOptions, secrets: SecretRules) {
    this.#options = options;
    const { logger } = options;
    const onError = (): void => {
      this.counts.callbackErrors += 1;
      this.metrics.listenerErrors.inc();
    };
    this.engine = new Engine(options, secrets);
    this.metrics = new ConfigMetrics(options.metrics, {
      environment: options.environment,
      current: () => this.engine.current,
      masked: () => secrets.mask(this.engine.current.value),
      signal: this.#ended.signal,
    });
    this.reloads = new ReloadLog(options.maxVersions);
    this.background = new Background({ logger });
    this.events = new IsolatedEmitter({ logger, onListenerError: onError });
    this.subscriptions = new Subscriptions({
      logger,
      onError,
      between: (next, previous, latest) => this.engine.change(next, previous, latest.causes),
    });
  }

  /** A source has a new document; it is tried soon, together with whatever else arrives meanwhile. */
  offer(slot: SourceSlot, layer: Layer | undefined, cause: ChangeCause): void {
    if (this.closed) return;
    slot.latest = layer;
    slot.lastSuccess = this.#options.clock.now();
    slot.problem = undefined;
    this.#pending.set(slot, cause);
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.background.run(() => this.serial.run(() => this.#drain()), 'apply a configuration update');
  }

  /** A source has nothing that can be read. */
  fail(slot: SourceSlot, error: ConfigError, cause: ChangeCause, code: string = error.code): void {
    if (this.closed) return;
    slot.problem = { code, message: error.message, since: this.#options.clock.now() };
    this.#refused([slot], error, [cause], 'error');
  }

  /** A source does not answer: what is in force stays, and grows old. */
  unreachable(slot: SourceSlot, message: string, cause: ChangeCause): void {
    if (this.closed) return;
    this.#report([cause], 'error');
    if (slot.problem === undefined)
      this.#options.logger.warn({ source: slot.name, reason: message }, 'a source does not answer');
    this.mark(slot, { code: 'CONFIG_REMOTE_UNAVAILABLE', message });
  }

  /** Marks a source as out of reach, or back, without an update. */
  mark(slot: SourceSlot, problem: { readonly code: string; readonly message: string } | undefined): void {
    if (problem?.code === slot.problem?.code) return;
    // A document that was refused stays refused when its source answers again.
    if (slot.problem !== undefined && !STALE_CODES.has(slot.problem.code)) return;
    slot.problem = problem && { ...problem, since: this.#options.clock.now() };
    this.checkState();
  }

  /**
   * Tries the newest documents of `slots` now. Gives the error when they were refused; what is in force then stays.
   * A first load is no reload, and so no entry of the history.
   */
  async settle(
    slots: ReadonlyMap<SourceSlot, ChangeCause>,
    version: number,
    { first = false }: { readonly first?: boolean } = {},
  ): Promise<ConfigError | undefined> {
    const causes = [...slots.values()];
    const changed = new Map([...slots.keys()].map((slot) => [slot, slot.latest] as const));
    const proposal = await this.engine.propose(changed, version);
    if ('issues' in proposal) {
      const error = new ConfigInvalidError(proposal.issues);
      // Before the first valid configuration, other sources may still bring what is missing.
      if (!this.engine.ready && proposal.incomplete) return undefined;
      this.#blame([...slots.keys()], error);
      this.#refused([...slots.keys()], error, causes, 'invalid');
      return error;
    }
    try {
      await this.engine.check(proposal.candidate);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      this.#blame([...slots.keys()], error);
      this.#refused([...slots.keys()], error, causes, 'invalid');
      return error;
    }
    this.apply(proposal.candidate, causes, first);
    return undefined;
  }

  /** Puts a candidate in force and tells everybody. */
  apply(candidate: Candidate, causes: readonly ChangeCause[], first = false): void {
    const done = this.engine.swap(candidate, causes);
    this.metrics.version.set(this.engine.current.version);
    this.counts[done === undefined ? 'unchanged' : 'applied'] += 1;
    this.#report(causes, done === undefined ? 'unchanged' : 'applied');
    this.checkState();
    this.onApplied();
    if (done === undefined) return;
    const paths = done.change.changes.map(({ path }) => path);
    if (!first) this.#log(paths, causes);
    this.subscriptions.publish(this.engine.current, done.previous, done.change);
    this.events.emit('change', done.change);
  }

  /** From now on nothing is applied any more. */
  end(): void {
    this.#ended.abort();
  }

  get closed(): boolean {
    return this.#ended.signal.aborted;
  }

  /** The state now. */
  get state(): ConfigState {
    if (this.closed) return 'closed';
    if (!this.engine.ready) return 'starting';
    const problems = this.engine.slots.flatMap((slot) => slot.problem ?? []);
    if (problems.some(({ code }) => !STALE_CODES.has(code))) return 'degraded';
    return problems.length > 0 ? 'stale' : 'ready';
  }

  /** Tells when the state is another than it was. */
  checkState(): void {
    const { state } = this;
    if (state === this.#state) return;
    const previous = this.#state;
    this.#state = state;
    this.#options.logger.info({ state, previous }, 'the configuration is in another state');
    this.events.emit('state', state, previous);
  }

  /** Every source as it stands. */
  sources(): SourceStatus[] {
    const shown = this.engine.slots.filter((slot) => slot.latest?.environment?.entries.length !== 0);
    return shown.map(({ name, kind, problem, lastSuccess, note }) => ({
      name,
      kind,
      ok: problem === undefined,
      ...(problem === undefined ? {} : { problem }),
      ...(note === undefined ? {} : { note }),
      ...(lastSuccess === 0 ? {} : { ageSeconds: (this.#options.clock.now() - lastSuccess) / 1_000 }),
    }));
  }

  async #drain(): Promise<void> {
    await this.#gather();
    this.#scheduled = false;
    const slots = new Map(this.#pending);
    this.#pending.clear();
    if (this.closed || slots.size === 0) return;
    await this.settle(slots, this.engine.current.version);
  }

  async #gather(): Promise<void> {
    if (this.reading.size === 0) return;
    const { clock } = this.#options;
    await withTimeout(Promise.allSettled(this.reading), GATHER, 'reading', { clock, ref: false }).catch(
      () => {},
    );
  }

  #blame(slots: readonly SourceSlot[], error: ConfigError): void {
    const since = this.#options.clock.now();
    for (const slot of slots) slot.problem = { code: error.code, message: error.message, since };
  }

  #refused(
    slots: readonly SourceSlot[],
    error: ConfigError,
    causes: readonly ChangeCause[],
    outcome: ReloadOutcome,
  ): void {
    this.counts.rejected += 1;
    this.#report(causes, outcome);
    const sources = slots.map(({ name }) => name);
    this.#options.logger.warn(
      { sources, code: error.code, reason: error.message },
      'a configuration update was refused',
    );
    this.checkState();
    const issues = error instanceof ConfigInvalidError ? error.issues : [];
    this.events.emit('rejected', { causes, code: error.code, message: error.message, issues });
    // It has been logged; whoever listens for errors wants the error itself.
    if (this.events.listenerCount('error') > 0) this.events.emit('error', error);
  }

  #report(causes: readonly ChangeCause[], outcome: ReloadOutcome): void {
    const good = outcome === 'applied' || outcome === 'unchanged';
    for (const { source, kind } of causes) {
      // The source of a commit is a person: no label for that.
      const label = kind === 'set' || kind === 'rollback' ? kind : source;
      this.metrics.reloads.inc({ source: label, outcome });
      this.metrics.lastReloadSuccessful.set({ source: label }, good ? 1 : 0);
      if (good) this.metrics.lastReloadSuccess.set({ source: label }, this.#options.clock.now() / 1_000);
    }
  }

  #log(paths: readonly string[], causes: readonly ChangeCause[]): void {
    const { version: during } = this.engine.current;
    const at = this.#options.clock.now();
    for (const { kind, source } of causes) {
      if (!RELOADS.has(kind)) continue;
      this.reloads.add({ version: undefined, kind: 'reload', at, paths, source, during });
    }
  }
}
