import { randomUUID } from 'node:crypto';
import { InvalidOptionError, sleep } from '@xiaoke/core';
import { differences, toMaskedChanges, type Change } from './diff.ts';
import type { Candidate, Engine, Proposal } from './engine.ts';
import {
  type ConfigError,
  ConfigInvalidError,
  ConflictError,
  ShadowedError,
  StoreUnavailableError,
  VersionNotFoundError,
} from './errors.ts';
import type { Regression } from './events.ts';
import type { Layer } from './layer.ts';
import { mergeLayers } from './merge.ts';
import type { ResolvedOptions } from './options.ts';
import { formatPath, isWithin, parsePath, valueAt, type PathInput } from './path.ts';
import { digestOf, RuntimeValues } from './runtime-values.ts';
import { makeSlot, type SourceSlot } from './source.ts';
import {
  joinTrails,
  nextTrail,
  trailMark,
  type CommitKind,
  type ConfigStore,
  type StoreHead,
  type StoreNews,
  type VersionMeta,
} from './store.ts';

/** Who changes the values, why, and on condition of what. */
export interface WriteOptions {
  readonly author?: string;
  readonly reason?: string;
  /** Commit only if this version is still in force; otherwise a {@link ConflictError}. */
  readonly ifVersion?: number;
}

/** What a transaction may do; nothing of it is visible before the commit. */
export interface Transaction {
  /** The value as it would be, among what this transaction and earlier commits set, else the one in force. */
  get(path: PathInput): unknown;
  set(path: PathInput, value: unknown): void;
  unset(path: PathInput): void;
}

/** What the manager lends to the control. */
export interface RuntimeHost {
  readonly engine: Engine;
  readonly store: ConfigStore;
  readonly options: ResolvedOptions;
  /** Puts a candidate in force and tells everybody. */
  readonly apply: (
    candidate: Candidate,
    kind: 'set' | 'rollback' | 'store' | 'canary',
    author: string,
  ) => void;
  /** Tries what the store has, and reports a refusal. */
  readonly offer: (
    layer: Layer | undefined,
    version: number,
    kind: 'store' | 'canary',
  ) => Promise<ConfigError | undefined>;
  readonly onRegression: (regression: Regression) => void;
  readonly onConflict: () => void;
}

interface Plan {
  readonly kind: CommitKind;
  readonly to?: number;
  /** Whether it makes a version even if nothing differs. */
  readonly always?: boolean;
  readonly edit: (values: RuntimeValues) => RuntimeValues | Promise<RuntimeValues>;
}

const EMPTY_DOCUMENT = RuntimeValues.empty.serialize();
const ATTEMPTS = 32;
const AGREEMENT_ROUNDS = 8;
const MAX_KNOWN_MARKS = 10_000;

/** The head of a store that holds nothing. */
export const EMPTY_HEAD: StoreHead = {
  version: 0,
  digest: digestOf(EMPTY_DOCUMENT),
  document: EMPTY_DOCUMENT,
  trail: [],
};

/** The run-time values: transactions on the store, and agreement with what other processes committed. */
export class RuntimeControl {
  readonly slot: SourceSlot;
  known: StoreHead = EMPTY_HEAD;
  /** What is tried on this instance on top of the committed values. */
  trial: ((values: RuntimeValues) => RuntimeValues) | undefined;
  readonly #host: RuntimeHost;
  // Every version this process knows to have existed, to recognise a store that fell back to its own past.
  readonly #marks = new Set<string>();

  constructor(host: RuntimeHost) {
    this.#host = host;
    this.slot = makeSlot('runtime', host.store.name);
  }

  /** Runs one transaction to its commit; the caller sees to it that nothing else runs meanwhile. */
  async write(plan: Plan, options: WriteOptions): Promise<number> {
    const { random, clock } = this.#host.options;
    for (let attempt = 0; ; attempt += 1) {
      const { ifVersion } = options;
      if (ifVersion !== undefined && ifVersion !== this.known.version) await this.refresh();
      if (ifVersion !== undefined && ifVersion !== this.known.version) {
        throw new ConflictError(ifVersion, this.known.version);
      }
      const expected = this.known;
      const version = await this.#attempt(plan, options);
      if (version !== undefined) return version;
      this.#host.onConflict();
      await this.refresh();
      if (ifVersion !== undefined || attempt >= ATTEMPTS) {
        throw new ConflictError(ifVersion ?? expected.version, this.known.version);
      }
      await sleep(random() * Math.min(50, 2 ** attempt), { clock });
    }
  }

  async #attempt(plan: Plan, options: WriteOptions): Promise<number | undefined> {
    const { engine, store, apply } = this.#host;
    const expected = this.known;
    const before = RuntimeValues.parse(expected.document);
    const after = await plan.edit(before);
    const document = after.serialize();
    const digest = digestOf(document);
    if (digest === expected.digest && plan.always !== true) return expected.version;
    const version = expected.version + 1;
    // A rollback brings back what was there as a whole; one path that is pinned since must not stand in its way.
    if (plan.kind !== 'rollback') this.#refuseShadowed(before, after);
    const proposal = await engine.propose(new Map([[this.slot, this.#layerOf(after)]]), version);
    if ('issues' in proposal) throw new ConfigInvalidError(proposal.issues);
    await engine.check(proposal.candidate);
    const outcome = await store.commit({
      expected,
      document,
      digest,
      trail: nextTrail(expected),
      meta: metaOf(plan, options, changedPaths(before, after)),
      request: randomUUID(),
      maxVersions: this.#host.options.maxVersions,
    });
    if (outcome.outcome === 'conflict') return undefined;
    this.#learn({ version: outcome.version, digest, document, trail: nextTrail(expected) });
    this.slot.latest = proposal.candidate.layers.get(this.slot);
    apply(proposal.candidate, plan.kind === 'rollback' ? 'rollback' : 'set', options.author ?? '');
    return outcome.version;
  }

  /**
   * Takes over commits that follow what is known here without a gap, as most do. `false` when they do not, and the store
   * has to be asked.
   */
  async advance(news: readonly StoreNews[]): Promise<boolean> {
    let head = this.known;
    for (const { follows, version, digest, document } of news) {
      // Our own commits come back to us, and others may have been seen with the head.
      if (this.#marks.has(trailMark(version, digest))) continue;
      if (head.version !== follows.version || head.digest !== follows.digest) return false;
      head = { version, digest, document, trail: nextTrail(head) };
    }
    if (head === this.known) return true;
    if (!isReadable(head)) return false;
    await this.#adopt(head);
    return true;
  }

  /** Compares with the store and agrees with it; called on every hint, on every reconnection and from time to time. */
  async refresh(): Promise<void> {
    // Each round ends in agreement unless another process wrote in between.
    for (let round = 0; round < AGREEMENT_ROUNDS; round += 1) {
      if (await this.#agree(await this.#host.store.read())) return;
    }
  }

  /** Takes what the store has over, or puts back what it lost; gives whether both are at one now. */
  async #agree(head: StoreHead | undefined): Promise<boolean> {
    const { known } = this;
    const there = head ?? EMPTY_HEAD;
    if (there.version === known.version && there.digest === known.digest) return true;
    const readable = isReadable(there);
    if (there.version > known.version) {
      if (!readable) throw new StoreUnavailableError('read', 'its document is damaged');
      if (this.#isFork(there)) return await this.#merge(there);
      await this.#adopt(there);
      return true;
    }
    // What lies behind is the store's own past, or damaged, or a new history that began after a loss.
    const ownPast = there.version === 0 || this.#marks.has(trailMark(there.version, there.digest));
    return await (ownPast || !readable ? this.#restore(there) : this.#merge(there));
  }

  /** Whether `there` is known not to come after what is known here. */
  #isFork(there: StoreHead): boolean {
    const { known } = this;
    if (known.version === 0 || there.trail.includes(trailMark(known.version, known.digest))) return false;
    // A trail that does not reach back to us tells nothing; then the store is believed.
    return (
      there.version === known.version + 1 ||
      there.trail.some((mark) => Number.parseInt(mark, 10) <= known.version)
    );
  }

  /** Takes over `head` as what the store holds, and tries to put it in force. */
  async #adopt(head: StoreHead): Promise<void> {
    this.#learn(head);
    await this.offer('store');
  }

  /** Offers the known values, with the trial on top, to the engine. */
  async offer(kind: 'store' | 'canary'): Promise<ConfigError | undefined> {
    const values = RuntimeValues.parse(this.known.document);
    return await this.#host.offer(this.#layerOf(values), this.known.version, kind);
  }

  /** What the configuration would be after `edit`; nothing changes. */
  async preview(edit: (values: RuntimeValues) => RuntimeValues): Promise<Proposal> {
    const before = RuntimeValues.parse(this.known.document);
    const after = edit(before);
    this.#refuseShadowed(before, after);
    return await this.#host.engine.propose(new Map([[this.slot, this.#layerOf(after)]]), this.known.version);
  }

  /** Starts from what the store holds, or from a copy kept on disk. */
  begin(head: StoreHead): void {
    if (!isReadable(head)) throw new StoreUnavailableError('read', 'its document is damaged');
    this.#learn(head);
    this.slot.latest = this.#layerOf(RuntimeValues.parse(head.document));
  }

  /** Puts back what is known here and the store lost. */
  async #restore(there: StoreHead): Promise<boolean> {
    const reason = `the store had fallen back to version ${there.version}`;
    if (!(await this.#commitKnown(this.known, there, reason))) return false;
    this.#regressed(there, 'restored');
    return true;
  }

  /**
   * The store lost versions, and somebody committed before they were put back: their changes go on top of ours, so that
   * neither is lost.
   */
  async #merge(there: StoreHead): Promise<boolean> {
    const { known } = this;
    const common = there.trail.find((mark) => this.#marks.has(mark));
    const base =
      common === undefined ? undefined : await this.#host.store.document(Number.parseInt(common, 10));
    const before = base === undefined ? RuntimeValues.empty : RuntimeValues.parse(base);
    const merged = RuntimeValues.parse(known.document).apply(before, RuntimeValues.parse(there.document));
    const document = merged.serialize();
    const version = Math.max(known.version, there.version) + 1;
    const head = {
      version,
      digest: digestOf(document),
      document,
      trail: joinTrails(nextTrail(there), nextTrail(known)),
    };
    if (!(await this.#commitKnown(head, there, `the store had lost versions up to ${known.version}`)))
      return false;
    this.#regressed(there, 'merged');
    await this.#adopt(head);
    return true;
  }

  async #commitKnown(head: StoreHead, there: StoreHead, reason: string): Promise<boolean> {
    const { store, options } = this.#host;
    const outcome = await store.commit({
      expected: there,
      document: head.document,
      digest: head.digest,
      trail: head.trail,
      version: head.version,
      meta: { kind: 'restore', paths: [], reason },
      request: randomUUID(),
      maxVersions: options.maxVersions,
    });
    return outcome.outcome === 'committed';
  }

  #regressed(there: StoreHead, action: Regression['action']): void {
    this.#host.onRegression({ from: this.known.version, to: there.version, action });
  }

  #learn(head: StoreHead): void {
    this.known = head;
    if (this.#marks.size > MAX_KNOWN_MARKS) this.#marks.clear();
    for (const mark of head.trail) this.#marks.add(mark);
    this.#marks.add(trailMark(head.version, head.digest));
  }

  #layerOf(values: RuntimeValues): Layer | undefined {
    const effective = this.trial === undefined ? values : this.trial(values);
    const { overrides } = effective;
    return overrides.length === 0 ? undefined : { kind: 'runtime', name: this.#host.store.name, overrides };
  }

  /** Refuses what would be committed and yet not seen. */
  #refuseShadowed(before: RuntimeValues, after: RuntimeValues): void {
    const pinned = this.#host.engine.pinned();
    for (const path of after.paths) {
      const parts = parsePath(path);
      const value = after.at(parts);
      if (JSON.stringify(before.at(parts)) === JSON.stringify(value)) continue;
      for (const pin of pinned) {
        const inner =
          isWithin(pin.parts, parts) && valueAt(value, pin.parts.slice(parts.length)) !== undefined;
        const changes = JSON.stringify(before.at(pin.parts)) !== JSON.stringify(after.at(pin.parts));
        if (isWithin(parts, pin.parts) || (inner && changes))
          throw new ShadowedError(path, pin.by ?? 'the environment');
      }
    }
  }

  /** The document of a version: the known ones without asking. */
  async documentOf(version: number): Promise<RuntimeValues> {
    if (!Number.isInteger(version) || version < 0) {
      throw new InvalidOptionError('version', 'must be the number of a version');
    }
    if (version === 0) return RuntimeValues.empty;
    const document =
      version === this.known.version ? this.known.document : await this.#host.store.document(version);
    if (document === undefined) throw new VersionNotFoundError(version);
    return RuntimeValues.parse(document);
  }

  /** What differs between two versions, masked. */
  async diff(from: number, to: number): Promise<Change[]> {
    const [before, after] = [await this.documentOf(from), await this.documentOf(to)];
    return toMaskedChanges(differences(treeOf(before), treeOf(after)), this.#host.engine.secrets);
  }
}

function isReadable(head: StoreHead): boolean {
  if (digestOf(head.document) !== head.digest) return false;
  try {
    RuntimeValues.parse(head.document);
    return true;
  } catch {
    return false;
  }
}

function treeOf(values: RuntimeValues): unknown {
  return mergeLayers([{ kind: 'runtime', name: 'runtime', overrides: values.overrides }]).draft;
}

function changedPaths(before: RuntimeValues, after: RuntimeValues): string[] {
  return differences(treeOf(before), treeOf(after)).map(({ parts }) => formatPath(parts));
}

function metaOf(plan: Plan, options: WriteOptions, paths: readonly string[]): VersionMeta {
  const { author, reason } = options;
  return {
    kind: plan.kind,
    paths,
    ...(author === undefined ? {} : { author }),
    ...(reason === undefined ? {} : { reason }),
    ...(plan.to === undefined ? {} : { to: plan.to }),
  };
}

/** Validates who and why, before anything is tried. */
export function checkWriteOptions(options: WriteOptions): WriteOptions {
  for (const name of ['author', 'reason'] as const) {
    const value: unknown = options[name];
    if (value !== undefined && (typeof value !== 'string' || value.length > 1_000)) {
      throw new InvalidOptionError(name, 'must be a text of at most 1000 characters');
    }
  }
  const { ifVersion } = options;
  if (ifVersion !== undefined && (!Number.isInteger(ifVersion) || ifVersion < 0)) {
    throw new InvalidOptionError('ifVersion', 'must be the number of a version');
  }
  return options;
}
