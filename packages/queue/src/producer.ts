import type { BackoffFunction } from './backoff.ts';
import type { Backend, NewTask } from './backend.ts';
import { encodeEnvelope, serialize, type EnvelopeExtras } from './envelope.ts';
import type { ResolvedQueueOptions } from './options.ts';
import { TaskIds } from './task-id.ts';
import { checkName, resolveTaskOptions, type ResolvedTaskOptions, type TaskOptions } from './task-options.ts';
import type { Tracing } from './tracing.ts';
import { validatePayload } from './worker/runner.ts';

/** One task to enqueue. */
export interface EnqueueItem {
  readonly name: string;
  readonly payload: unknown;
  readonly options?: TaskOptions | undefined;
  readonly extras?: EnvelopeExtras | undefined;
}

/** Turns calls into tasks for a backend: everything that can be wrong is found here, before anything is written. */
export class Producer {
  readonly #options: ResolvedQueueOptions;
  readonly #backend: Backend;
  readonly #ids = new TaskIds();
  readonly #functions: BackoffFunctions;
  tracing: Tracing;

  constructor(
    options: ResolvedQueueOptions,
    backend: Backend,
    functions: BackoffFunctions,
    tracing: Tracing,
  ) {
    this.#options = options;
    this.#backend = backend;
    this.#functions = functions;
    this.tracing = tracing;
  }

  /** @throws InvalidOptionError, QueueError `PAYLOAD_…` */
  async prepare(item: EnqueueItem): Promise<NewTask> {
    const schema = this.#options.schemas.get(item.name);
    if (schema !== undefined) await validatePayload(schema, item.payload, item.name);
    return this.prepareNow(item);
  }

  /** As {@link prepare}, for a payload that needs no schema. */
  prepareNow({ name, payload, options, extras }: EnqueueItem): NewTask {
    checkName(name, 'name');
    const resolved = resolveTaskOptions(options, this.#options.defaults);
    const body = serialize(payload, this.#options.payloadLimit, 'PAYLOAD_NOT_SERIALIZABLE');
    const now = this.#backend.now();
    const id = resolved.id ?? this.#backend.newId(this.#ids.next(now), resolved);
    const more = this.#moreOf(resolved, extras, now);
    if (resolved.backoffFunction !== undefined) this.#functions.keep(id, resolved.backoffFunction);
    return {
      id,
      queue: resolved.queue,
      priority: resolved.priority,
      delayMs: resolved.delayMs,
      runAt: resolved.runAt,
      blob: encodeEnvelope(name, body, resolved, {
        now,
        extras: more,
        compression: this.#options.compression,
      }),
      unique: resolved.unique,
      group: resolved.group,
      parent: extras?.parent,
      children: extras?.children,
    };
  }

  #moreOf(
    resolved: ResolvedTaskOptions,
    extras: EnvelopeExtras | undefined,
    now: number,
  ): EnvelopeExtras | undefined {
    const traceparent = this.tracing.current();
    // With an id of its own, a call cannot have the same text as another one.
    if (resolved.id === undefined) return traceparent === undefined ? extras : { ...extras, traceparent };
    return { ...extras, traceparent, call: this.#ids.next(now).slice(CALL_FROM) };
  }

  /** A fresh id for a task with these options. */
  newId(options: TaskOptions | undefined): string {
    const resolved = resolveTaskOptions(options, this.#options.defaults);
    return this.#backend.newId(this.#ids.next(this.#backend.now()), resolved);
  }

  hasSchema(name: string): boolean {
    return this.#options.schemas.has(name);
  }
}

/** What an id says beside the time, which the envelope has anyway. */
const CALL_FROM = 8;
const MAX_FUNCTIONS = 10_000;

/** Backoff functions given with single tasks: they cannot travel, so they apply in this process only. */
export class BackoffFunctions {
  readonly #functions = new Map<string, BackoffFunction>();
  readonly #fallback: BackoffFunction | undefined;

  constructor(defaults: ResolvedTaskOptions) {
    this.#fallback = defaults.backoffFunction;
  }

  keep(id: string, backoff: BackoffFunction): void {
    if (backoff === this.#fallback) return;
    if (this.#functions.size >= MAX_FUNCTIONS) {
      const [oldest] = this.#functions.keys();
      if (oldest !== undefined) this.#functions.delete(oldest);
    }
    this.#functions.set(id, backoff);
  }

  of(id: string): BackoffFunction | undefined {
    return this.#functions.get(id) ?? this.#fallback;
  }

  drop(id: string): void {
    if (this.#functions.size > 0) this.#functions.delete(id);
  }
}
