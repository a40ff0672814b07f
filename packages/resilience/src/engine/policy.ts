import {
  compileKeyTemplate,
  createDecorator,
  InvalidOptionError,
  IsolatedEmitter,
  onAbort,
  systemClock,
  type Clock,
  type Decorator,
  type KeyTemplate,
  type UnknownFunction,
} from '@xiaoke/core';
import type { ExecuteOptions, Operation } from './context.ts';
import type { CallMeter } from './call-meter.ts';
import { DeadlineExceededError } from '../errors.ts';
import { currentDeadline } from '../timeout/deadline.ts';
import type { Runner } from './frame.ts';
import { compile, type Part } from './compile.ts';
import { CallScope } from './scope.ts';

/** What each kind of policy is called. */
export type PolicyKind =
  | 'retry'
  | 'circuitBreaker'
  | 'timeout'
  | 'bulkhead'
  | 'rateLimit'
  | 'fallback'
  | 'hedge'
  | 'collapse'
  | 'adaptiveConcurrency'
  | 'adaptiveThrottle'
  | 'loadShedder'
  | 'faultInjection'
  | 'partition'
  | 'pipeline';

/** How a function becomes a protected one. */
export interface WrapOptions {
  /** Finds the signal of a call among its arguments. By default an `AbortSignal` that is the last argument, or its `signal`. */
  readonly signal?: ((...args: never[]) => AbortSignal | undefined) | undefined;
  /** The `key` of a call, from its arguments. */
  readonly key?: KeyTemplate | undefined;
}

/** Something that a call goes through. `Alt` is what it may give instead of the operation's result. */
export interface Policy<Alt = never> {
  readonly kind: PolicyKind;
  /** For errors, statistics and metrics. */
  readonly name: string;
  /** Never set; carries the type, which cannot be inferred from the methods. */
  readonly alternative?: Alt;
  /**
   * Runs `operation` under the policy. Rejects with the operation's own error, unchanged, or with one of the policy; with
   * `signal.reason`, at once, when the caller aborts.
   */
  execute<T>(operation: Operation<T>, options?: ExecuteOptions): Promise<T | Alt>;
  /** A function that does the same under the policy; it keeps its `this`. */
  wrap<Args extends unknown[], T>(
    fn: (...args: Args) => T | PromiseLike<T>,
    options?: WrapOptions,
  ): (...args: Args) => Promise<T | Alt>;
  /** As {@link wrap}, for methods and for functions whose type is to stay: TC39, `experimentalDecorators`, plain. */
  readonly decorate: Decorator;
  /** What this policy saw in this process. */
  stats(): PolicyStats;
}

/** What tells of its events. A listener that throws or rejects changes nothing. */
export interface Listenable<Events extends object> {
  on<K extends keyof Events & string>(
    event: K,
    listener: (...args: ListenerArgs<Events, K>) => unknown,
  ): this;
  once<K extends keyof Events & string>(
    event: K,
    listener: (...args: ListenerArgs<Events, K>) => unknown,
  ): this;
  off<K extends keyof Events & string>(
    event: K,
    listener: (...args: ListenerArgs<Events, K>) => unknown,
  ): this;
}

type ListenerArgs<Events, K extends keyof Events> = Events[K] extends readonly unknown[] ? Events[K] : never;

/** What every policy tells; each kind adds its own. */
export interface PolicyStats {
  readonly kind: PolicyKind;
  readonly name: string;
}

/** What a policy that can be reconfigured offers. */
export interface Configurable<Options> {
  /** Checks `options` whole, then puts them in force for calls that begin from now on; those that run keep theirs. */
  configure(options: Options): void;
}

let lastNumber = 0;

/** A name for a policy that was given none. */
export function policyName(kind: PolicyKind, name: string | undefined): string {
  if (name === undefined) {
    lastNumber += 1;
    return `${kind}-${lastNumber}`;
  }
  if (typeof name !== 'string' || name === '')
    throw new InvalidOptionError('name', 'must be a non-empty string');
  return name;
}

const NO_OPTIONS: ExecuteOptions = Object.freeze({});

/** What all policies share: running alone, wrapping, events. */
export abstract class BasePolicy<Alt, Events extends object> implements Policy<Alt>, Listenable<Events> {
  abstract readonly kind: PolicyKind;
  declare readonly alternative?: Alt;
  readonly name: string;
  readonly clock: Clock;
  /** Whether it never looks at a clock, and so fits beside policies on any. */
  readonly timeless: boolean = false;
  #emitter: IsolatedEmitter<Events> | undefined = undefined;
  #compiled: Runner | undefined = undefined;

  constructor(name: string, clock: Clock | undefined) {
    this.name = name;
    this.clock = clock ?? systemClock;
  }

  /** What the compiler makes of it. */
  abstract parts(): readonly Part[];
  abstract stats(): PolicyStats;

  execute<T>(operation: Operation<T>, options: ExecuteOptions = NO_OPTIONS): Promise<T | Alt> {
    if (options !== NO_OPTIONS || typeof operation !== 'function' || currentDeadline() !== undefined)
      return this.#executeWith(operation, options);
    return this.#runner().run(new CallScope(NO_OPTIONS, this.clock), operation) as Promise<T | Alt>;
  }

  #executeWith<T>(operation: Operation<T>, options: ExecuteOptions): Promise<T | Alt> {
    const mistake = mistakeIn(operation, options);
    if (mistake !== undefined) return Promise.reject(mistake);
    const call = new CallScope(options, this.clock);
    const context = currentDeadline();
    if (context !== undefined) call.deadline = context.at(this.clock);
    const bounded = options.signal != null || call.deadline !== Infinity;
    const runner = this.#runner();
    return (bounded ? runBounded(runner, call, operation) : runner.run(call, operation)) as Promise<T | Alt>;
  }

  #runner(): Runner {
    return (this.#compiled ??= compile(this.parts(), this.meter()));
  }

  /** Itself around `inner`, inside of another policy: one chain of scopes, so that giving up reaches everything. */
  around(inner: Runner): Runner {
    return compile(this.parts(), this.meter(), inner);
  }

  wrap<Args extends unknown[], T>(
    fn: (...args: Args) => T | PromiseLike<T>,
    options: WrapOptions = {},
  ): (...args: Args) => Promise<T | Alt> {
    if (typeof fn !== 'function') throw new InvalidOptionError('fn', 'must be a function');
    const executeOptions = compileWrap(options);
    const execute = this.execute.bind(this);
    return function (this: unknown, ...args: Args): Promise<T | Alt> {
      return execute<T>(() => fn.apply(this, args), executeOptions(args));
    };
  }

  get decorate(): Decorator {
    return createDecorator((fn) => this.wrap(fn) as UnknownFunction);
  }

  on<K extends keyof Events & string>(
    event: K,
    listener: (...args: ListenerArgs<Events, K>) => unknown,
  ): this {
    this.#emitter ??= new IsolatedEmitter<Events>();
    this.#emitter.on(event, listener);
    return this;
  }

  once<K extends keyof Events & string>(
    event: K,
    listener: (...args: ListenerArgs<Events, K>) => unknown,
  ): this {
    this.#emitter ??= new IsolatedEmitter<Events>();
    this.#emitter.once(event, listener);
    return this;
  }

  off<K extends keyof Events & string>(
    event: K,
    listener: (...args: ListenerArgs<Events, K>) => unknown,
  ): this {
    this.#emitter?.off(event, listener);
    return this;
  }

  protected emit<K extends keyof Events & string>(event: K, ...args: ListenerArgs<Events, K>): void {
    this.#emitter?.emit(event, ...(args as never));
  }

  /** Counts the calls that enter here; only pipelines do. */
  protected meter(): CallMeter | undefined {
    return undefined;
  }
}

function mistakeIn(operation: unknown, options: ExecuteOptions | null): InvalidOptionError | undefined {
  if (typeof operation !== 'function') return new InvalidOptionError('operation', 'must be a function');
  if (options === NO_OPTIONS) return undefined;
  if (typeof options !== 'object' || options === null)
    return new InvalidOptionError('options', 'must be an object');
  const { signal } = options;
  return signal == null || typeof signal.throwIfAborted === 'function'
    ? undefined
    : new InvalidOptionError('signal', 'must be an AbortSignal');
}

/** Runs a call that its caller, or the deadline of the request being served, may end. */
async function runBounded(runner: Runner, call: CallScope, operation: Operation<unknown>): Promise<unknown> {
  const { signal } = call.options;
  signal?.throwIfAborted();
  const remaining = call.deadline - call.clock.monotonic();
  if (remaining <= 0) throw new DeadlineExceededError();
  call.cancellable = true;
  const unlink = onAbort(signal, (reason) => call.cancel(reason, 'caller', false));
  const expire = (): void => call.cancel(new DeadlineExceededError(), 'limit', false);
  const timer = remaining === Infinity ? undefined : call.clock.setTimeout(expire, remaining);
  try {
    return await runner.run(call, operation);
  } finally {
    unlink();
    timer?.cancel();
  }
}

function compileWrap(options: WrapOptions): (args: readonly unknown[]) => ExecuteOptions {
  const { signal: find = signalAmong } = options;
  const key = options.key === undefined ? undefined : compileKeyTemplate(options.key);
  return (args) => {
    const signal = find(...(args as never[]));
    return { signal, key: key?.(args) };
  };
}

function signalAmong(...args: readonly unknown[]): AbortSignal | undefined {
  const last = args.at(-1);
  if (last instanceof AbortSignal) return last;
  if (typeof last !== 'object' || last === null || !('signal' in last)) return undefined;
  return last.signal instanceof AbortSignal ? last.signal : undefined;
}
