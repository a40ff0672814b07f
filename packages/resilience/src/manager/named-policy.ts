import type { Part } from '../engine/compile.ts';
import type { ExecuteOptions, Operation } from '../engine/context.ts';
import { aroundWith } from '../engine/foreign.ts';
import type { Runner } from '../engine/frame.ts';
import { CallMeter } from '../engine/call-meter.ts';
import { BasePolicy } from '../engine/policy.ts';
import type { Outcome } from '../engine/scope.ts';
import { PolicyPipeline, type PipelineStats } from '../pipeline/pipeline.ts';
import {
  buildPart,
  checkDefinition,
  PART_ORDER,
  type BuiltPart,
  type PartName,
  type PolicyDefinition,
  type Surroundings,
} from './definition.ts';

/** Called when a call through a named policy ends. */
export type CallListener = (outcome: Outcome, durationMs: number) => void;

/**
 * A policy whose definition can change while calls run. Calls that began go on under what they began with; what a part
 * knows (an open circuit, places taken, a budget) outlives the change, as long as the part does.
 */
export class NamedPolicy extends BasePolicy<never, object> {
  readonly kind = 'pipeline';
  readonly #surroundings: Surroundings;
  readonly #meter: CallMeter;
  #definition: PolicyDefinition;
  #parts: ReadonlyMap<PartName, BuiltPart>;
  #current: PolicyPipeline;

  constructor(name: string, definition: PolicyDefinition, surroundings: Surroundings, onCall?: CallListener) {
    super(name, surroundings.clock);
    this.#surroundings = surroundings;
    this.#meter = new CallMeter(name, onCall);
    this.#definition = definition;
    this.#parts = buildParts(name, definition, surroundings);
    this.#current = this.#assemble();
  }

  get definition(): PolicyDefinition {
    return this.#definition;
  }

  /** Whether its circuit lets no call through. */
  get refuses(): boolean {
    const stats = this.#parts.get('circuitBreaker')?.policy.stats();
    return stats !== undefined && 'state' in stats && (stats.state === 'open' || stats.state === 'isolated');
  }

  get current(): PolicyPipeline {
    return this.#current;
  }

  /** Puts another definition in force, whole or, when it is refused, not at all. */
  update(definition: PolicyDefinition): void {
    // Making all parts anew, in no group, is the check.
    buildParts(this.name, definition, {
      ...this.#surroundings,
      shared: undefined,
      onBuilt: () => {},
    });
    for (const [name, part] of this.#parts) if (definition[name] !== undefined) part.reconfigure(definition);
    const parts = buildParts(this.name, definition, this.#surroundings, this.#parts);
    const same = parts.size === this.#parts.size && [...parts.keys()].every((name) => this.#parts.has(name));
    this.#parts = parts;
    this.#definition = definition;
    if (!same) this.#current = this.#assemble();
  }

  override execute<T>(operation: Operation<T>, options?: ExecuteOptions): Promise<T> {
    return this.#current.execute(operation, options) as Promise<T>;
  }

  parts(): readonly Part[] {
    const around = (inner: Runner): Runner => {
      let compiled = { of: this.#current, runner: aroundWith(this.#current, inner) };
      return {
        run: (scope, operation) => {
          if (compiled.of !== this.#current)
            compiled = { of: this.#current, runner: aroundWith(this.#current, inner) };
          return compiled.runner.run(scope, operation);
        },
      };
    };
    return [{ type: 'around', clock: this.clock, around }];
  }

  stats(): PipelineStats {
    return this.#current.stats();
  }

  #assemble(): PolicyPipeline {
    const policies = [...this.#parts.values()].map(({ policy }) => policy);
    return new PolicyPipeline(this.name, policies, this.#meter);
  }
}

/** The parts of a definition, taken from `existing` as far as they are there. */
function buildParts(
  name: string,
  definition: PolicyDefinition,
  surroundings: Surroundings,
  existing: ReadonlyMap<PartName, BuiltPart> = new Map(),
): ReadonlyMap<PartName, BuiltPart> {
  checkDefinition(definition);
  const parts = PART_ORDER.filter((part) => definition[part] !== undefined);
  return new Map(
    parts.map((part) => {
      const kept = existing.get(part);
      if (kept !== undefined) return [part, kept];
      const made = buildPart(part, name, definition, surroundings);
      surroundings.onBuilt(made.policy);
      return [part, made];
    }),
  );
}
