import type { CircuitBreakerPolicy } from '../breaker/circuit-breaker.ts';
import type { Part } from '../engine/compile.ts';
import type { ExecuteOptions, Operation } from '../engine/context.ts';
import { BasePolicy } from '../engine/policy.ts';
import type { Outcome } from '../engine/scope.ts';
import { pipeline, type Pipeline, type PipelineStats } from '../pipeline/pipeline.ts';
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
  readonly #onCall: CallListener;
  #definition: PolicyDefinition;
  #parts: ReadonlyMap<PartName, BuiltPart>;
  #current: Pipeline;

  constructor(name: string, definition: PolicyDefinition, surroundings: Surroundings, onCall: CallListener) {
    super(name, surroundings.clock);
    this.#surroundings = surroundings;
    this.#onCall = onCall;
    this.#definition = definition;
    this.#parts = this.#build(definition);
    this.#current = this.#assemble();
  }

  get definition(): PolicyDefinition {
    return this.#definition;
  }

  get current(): Pipeline {
    return this.#current;
  }

  /** The circuit of the policy, if it has one. */
  get breaker(): CircuitBreakerPolicy | undefined {
    return this.#parts.get('circuitBreaker')?.policy as CircuitBreakerPolicy | undefined;
  }

  /** Puts another definition in force, whole or, when it is refused, not at all. */
  update(definition: PolicyDefinition): void {
    // Making all parts anew is the check; most of them are then thrown away.
    const made = this.#build(definition, true);
    const parts = new Map<PartName, BuiltPart>();
    for (const [name, fresh] of made) {
      const existing = this.#parts.get(name);
      existing?.reconfigure(definition);
      parts.set(name, existing ?? fresh);
    }
    const same = parts.size === this.#parts.size && [...parts.keys()].every((name) => this.#parts.has(name));
    this.#parts = parts;
    this.#definition = definition;
    if (!same) this.#current = this.#assemble();
  }

  override execute<T>(operation: Operation<T>, options?: ExecuteOptions): Promise<T> {
    return this.#current.execute(operation, options);
  }

  parts(): readonly Part[] {
    return [
      {
        type: 'around',
        clock: this.clock,
        around: (inner) => ({
          run: (scope, operation) =>
            this.#current.execute(() => inner.run(scope, operation), {
              ...scope.call.options,
              signal: scope.signal,
            }),
        }),
      },
    ];
  }

  stats(): PipelineStats {
    return this.#current.stats();
  }

  #build(definition: PolicyDefinition, rehearsal = false): ReadonlyMap<PartName, BuiltPart> {
    checkDefinition(definition);
    // A part that may be thrown away must not join a group.
    const surroundings = rehearsal ? { ...this.#surroundings, shared: undefined } : this.#surroundings;
    const parts = PART_ORDER.filter((part) => definition[part] !== undefined);
    return new Map(parts.map((part) => [part, buildPart(part, this.name, definition, surroundings)]));
  }

  #assemble(): Pipeline {
    const policies = [...this.#parts.values()].map(({ policy }) => policy);
    return pipeline({ name: this.name, onCall: this.#onCall }, ...policies) as Pipeline;
  }
}
