import type { Logger } from '@xiaoke/core';
import {
  buildConfig,
  layFoundation,
  validateBuild,
  type BuildInput,
  type BuildResult,
  type Built,
  type ValidateInput,
} from './build.ts';
import { makeChange, type ChangeCause, type ConfigChange } from './change.ts';
import { differences, toChanges } from './diff.ts';
import { composeLayers } from './environment.ts';
import { ConfigSourceError, type ConfigIssue } from './errors.ts';
import { raise, type Foundation, type Raised } from './foundation.ts';
import { Guards } from './guards.ts';
import type { JsonSchema } from './json-schema.ts';
import { LAYER_KINDS, type Layer, type Override } from './layer.ts';
import type { ResolvedOptions } from './options.ts';
import type { PlainObject } from './plain-value.ts';
import type { SecretRules } from './secrets.ts';
import { share, Snapshot } from './snapshot.ts';
import type { SourceSlot } from './source.ts';

/** Why a readable document is not in force; over once it is. */
const REFUSALS: ReadonlySet<string> = new Set(['CONFIG_INVALID', 'CONFIG_VETOED']);

/** A configuration that is valid and passed its guards, and the layers it is made of. */
export interface Candidate {
  readonly snapshot: Snapshot;
  readonly built: Built;
  readonly layers: ReadonlyMap<SourceSlot, Layer | undefined>;
}

/** What became of a proposal. */
export type Proposal =
  | { readonly candidate: Candidate }
  | { readonly issues: readonly ConfigIssue[]; readonly incomplete: boolean };

/**
 * Makes configurations out of layers and holds the one in force. Nothing in here waits for its turn: the manager calls
 * it from one piece of work at a time.
 */
export class Engine {
  readonly slots: SourceSlot[] = [];
  readonly guards: Guards;
  readonly secrets: SecretRules;
  readonly jsonSchema: JsonSchema | undefined;
  current: Snapshot = new Snapshot(Object.freeze({}), 0);
  built: Built = { value: {}, layers: [], traces: new Map(), tainted: new Set() };
  /** Whether there has been a valid configuration yet. */
  ready = false;
  readonly #options: ResolvedOptions;
  readonly #warned = new Set<string>();
  #kept: { readonly rest: readonly Layer[]; readonly foundation: Foundation | undefined } | undefined;

  constructor(options: ResolvedOptions, secrets: SecretRules) {
    this.#options = options;
    this.secrets = secrets;
    this.jsonSchema = secrets.schema;
    this.guards = new Guards(options.guardTimeout, options.clock, (text) => secrets.clean(text));
  }

  get #logger(): Logger {
    return this.#options.logger;
  }

  /**
   * Builds with the newest documents of all sources; if that is not valid, with `changed` on top of what is in force, so
   * that one source's broken document does not stand in the way of another's good one.
   */
  async propose(changed: ReadonlyMap<SourceSlot, Layer | undefined>, version: number): Promise<Proposal> {
    const newest = await this.#tryLayers(
      (slot) => (changed.has(slot) ? changed.get(slot) : slot.latest),
      version,
    );
    if ('candidate' in newest || !this.ready) return newest;
    if (this.slots.every((slot) => changed.has(slot) || slot.latest === slot.accepted)) return newest;
    const careful = await this.#tryLayers(
      (slot) => (changed.has(slot) ? changed.get(slot) : slot.accepted),
      version,
    );
    return 'candidate' in careful ? careful : newest;
  }

  /** Asks the guards about a candidate. */
  async check(candidate: Candidate): Promise<void> {
    if (!this.ready) return;
    this.secrets.notice(candidate.snapshot.value);
    await this.guards.check(candidate.snapshot, this.current);
  }

  /** Puts a candidate in force; gives the change, or `undefined` when no value differs. */
  swap(
    candidate: Candidate,
    causes: readonly ChangeCause[],
  ): { change: ConfigChange; previous: Snapshot } | undefined {
    const previous = this.current;
    for (const [slot, layer] of candidate.layers) {
      slot.accepted = layer;
      if (layer === slot.latest && REFUSALS.has(slot.problem?.code ?? '')) slot.problem = undefined;
    }
    this.secrets.taint(candidate.built.tainted);
    this.secrets.notice(candidate.snapshot.value);
    this.built = candidate.built;
    const same = candidate.snapshot.value === previous.value;
    if (same && candidate.snapshot.version === previous.version && this.ready) return undefined;
    this.current = candidate.snapshot;
    this.ready = true;
    if (same) return undefined;
    return { change: this.change(this.current, previous, causes), previous };
  }

  /** The paths that the environment pins. */
  pinned(): readonly Override[] {
    return this.built.layers.flatMap((layer) =>
      layer.kind === 'environment' ? (layer.overrides ?? []) : [],
    );
  }

  /** The change between two snapshots. */
  change(next: Snapshot, previous: Snapshot, causes: readonly ChangeCause[]): ConfigChange {
    const changes = toChanges(differences(previous.value, next.value), this.secrets);
    return makeChange(next, previous, changes, causes);
  }

  async #tryLayers(pick: (slot: SourceSlot) => Layer | undefined, version: number): Promise<Proposal> {
    const layers = new Map(this.slots.map((slot) => [slot, pick(slot)] as const));
    const result = await this.#build([...layers.values()].filter((layer) => layer !== undefined));
    if ('issues' in result) return result;
    const value = share(this.current.value, result.built.value) as Readonly<Record<string, unknown>>;
    return { candidate: { snapshot: new Snapshot(value, version), built: result.built, layers } };
  }

  async #build(layers: readonly Layer[]): Promise<BuildResult> {
    const ordered = [...layers].sort((a, b) => LAYER_KINDS.indexOf(a.kind) - LAYER_KINDS.indexOf(b.kind));
    try {
      const raised = this.#raise(ordered);
      if (raised !== undefined) return await validateBuild(raised, [], this.#validation);
      return await buildConfig(this.#compose(ordered));
    } catch (error) {
      if (!(error instanceof ConfigSourceError)) throw error;
      return { issues: [{ kind: 'mapping', path: '', message: error.message }], incomplete: false };
    }
  }

  get #validation(): ValidateInput {
    const { schema, validationTimeout: timeout, clock } = this.#options;
    return { schema, secrets: this.secrets, timeout, clock };
  }

  #compose(ordered: readonly Layer[]): BuildInput {
    const { merge: lists, env } = this.#options;
    const { layers, issues, lookup, unknown } = composeLayers(ordered, env, this.jsonSchema);
    this.#warn(unknown);
    return { ...this.#validation, layers, issues, lookup, lists, jsonSchema: this.jsonSchema };
  }

  /** The run-time values on what the other layers came to, which is kept until one of them is another. */
  #raise(ordered: readonly Layer[]): Raised | undefined {
    const runtime = ordered.find(({ kind }) => kind === 'runtime');
    const rest = ordered.filter((layer) => layer !== runtime);
    const kept = this.#kept;
    if (kept?.rest.length !== rest.length || kept.rest.some((layer, index) => layer !== rest[index])) {
      const found = layFoundation(this.#compose(rest));
      // What is already in force keeps its identity, so that a commit is compared only where it changes something.
      const value = found && (share(this.current.value, found.value) as PlainObject);
      this.#kept = { rest, foundation: found && value && { ...found, value } };
    }
    const foundation = this.#kept?.foundation;
    return foundation && raise(foundation, runtime);
  }

  #warn(unknown: readonly { readonly name: string; readonly nearest: string | undefined }[]): void {
    for (const { name, nearest } of unknown) {
      if (this.#warned.has(name) || this.jsonSchema === undefined) continue;
      this.#warned.add(name);
      this.#logger.warn(
        { variable: name, nearest },
        'an environment variable names nothing that the schema knows',
      );
    }
  }
}
