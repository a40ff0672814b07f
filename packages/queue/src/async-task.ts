import {
  InvalidOptionError,
  createDecorator,
  type DecoratedFunction,
  type UnknownFunction,
} from '@xiaoke/core';
import type { QueueManager } from './queue-manager.ts';
import { checkName, type TaskOptions } from './task-options.ts';
import type { Task } from './task.ts';

/** What an async task is called, and how it is queued. */
export interface AsyncTaskOptions extends TaskOptions {
  /** @default the name of the function or method */
  readonly name?: string;
  /** Asked for when the first call is enqueued. @default getQueueManager() */
  readonly manager?: QueueManager | (() => QueueManager | Promise<QueueManager>);
}

/** The way to enqueue a function made by {@link asyncTask}. */
export interface AsyncTaskReference<Args extends readonly unknown[] = readonly never[], Result = unknown> {
  /** Enqueues a call with these arguments. */
  enqueue(...args: Args): Promise<Task<Result>>;
  /** The same with options of its own. */
  enqueueWith(options: TaskOptions, ...args: Args): Promise<Task<Result>>;
}

/** A decorator for methods, and a wrapper for functions. */
export interface AsyncTaskDecorator {
  /** Standard decorator. */
  <This, Args extends readonly unknown[], T extends Promise<unknown>>(
    method: (this: This, ...args: Args) => T,
    context: ClassMethodDecoratorContext<This, (this: This, ...args: Args) => T>,
  ): (this: This, ...args: Args) => T;
  /** `experimentalDecorators`. */
  <F extends DecoratedFunction>(
    target: object,
    key: string | symbol,
    descriptor: TypedPropertyDescriptor<F>,
  ): void;
  /** Plain function. */
  <Args extends readonly unknown[], Result>(
    fn: (...args: Args) => Promise<Result>,
  ): ((...args: Args) => Promise<Result>) & AsyncTaskReference<Args, Result>;
}

/** What is known about a function made by {@link asyncTask}. */
export interface AsyncTaskMeta {
  readonly name: string;
  readonly options: TaskOptions;
  readonly kind: 'method' | 'function';
  readonly fn: UnknownFunction;
  readonly manager: AsyncTaskOptions['manager'];
}

const META = Symbol.for('xiaoke.queue.asyncTask');
// Functions that were declared before their manager was made; the process-wide manager registers them when it starts.
const declared = new Set<AsyncTaskMeta>();

/** The plain functions that belong to the process-wide manager. */
export function declaredTasks(): readonly AsyncTaskMeta[] {
  return [...declared];
}

/**
 * Makes a function or method into a task. Calling it runs it inline, as written; `enqueue` and `enqueueWith` enqueue the
 * call, with the argument array as payload. Methods are enqueued with `manager.enqueue(object.method, ...args)` and
 * need `manager.registerTasks(object)` in the process that runs them.
 *
 * @example
 * ```ts
 * import { asyncTask, createQueueManager } from '@xiaoke/queue';
 * const manager = await createQueueManager();
 * const add = asyncTask({ manager })(async function add(a: number, b: number) { return a + b; });
 * await manager.startWorkers(2);
 * const task = await add.enqueue(1, 2);
 * console.log(await add(1, 2), await task.result()); // => 3 3
 * await manager.close();
 * ```
 */
export function asyncTask(options: AsyncTaskOptions = {}): AsyncTaskDecorator {
  const { name: given, manager, ...taskOptions } = options;
  if (given !== undefined) checkName(given, 'name');
  const decorator = createDecorator((fn, info) => {
    const name = given ?? info.name;
    if (name === 'anonymous') throw new InvalidOptionError('name', 'is needed for a function without a name');
    const meta: AsyncTaskMeta = { name, options: taskOptions, kind: info.kind, fn, manager };
    const wrapper = function (this: unknown, ...args: unknown[]): unknown {
      return Reflect.apply(fn, this, args);
    };
    const enqueueWith = async (own: TaskOptions, ...args: unknown[]): Promise<Task> =>
      await enqueueMeta(meta, own, args);
    const enqueue = async (...args: unknown[]): Promise<Task> => await enqueueMeta(meta, {}, args);
    if (info.kind === 'function') declare(meta);
    return Object.assign(wrapper, { [META]: meta, enqueue, enqueueWith });
  });
  return decorator;
}

/** What {@link asyncTask} attached to a function, if it did. */
export function metaOf(value: unknown): AsyncTaskMeta | undefined {
  if (typeof value !== 'function') return undefined;
  return Reflect.get(value, META) as AsyncTaskMeta | undefined;
}

/** The decorated methods of an object, its class's included. */
function methodsOf(
  target: object,
): readonly { readonly meta: AsyncTaskMeta; readonly method: UnknownFunction }[] {
  const found = new Map<string, { meta: AsyncTaskMeta; method: UnknownFunction }>();
  for (
    let level: object | null = target;
    level !== null && level !== Object.prototype;
    level = Object.getPrototypeOf(level)
  ) {
    for (const key of Reflect.ownKeys(level)) {
      const { value } = Object.getOwnPropertyDescriptor(level, key) ?? {};
      const meta = metaOf(value);
      if (meta !== undefined && !found.has(meta.name))
        found.set(meta.name, { meta, method: value as UnknownFunction });
    }
  }
  return [...found.values()];
}

function declare(meta: AsyncTaskMeta): void {
  const { manager } = meta;
  if (manager === undefined) declared.add(meta);
  else if (typeof manager === 'object') registerFunction(manager, meta);
}

const registered = new WeakMap<QueueManager, WeakSet<AsyncTaskMeta>>();

/** Registers a plain function's handler, once per manager. */
export function registerFunction(manager: QueueManager, meta: AsyncTaskMeta): void {
  const known = registered.get(manager) ?? new WeakSet();
  if (known.has(meta)) return;
  manager.registerTaskHandler(
    meta.name,
    async (payload) => await Reflect.apply(meta.fn, undefined, payload as unknown[]),
  );
  registered.set(manager, known.add(meta));
}

/** Registers a function made by {@link asyncTask}, or the decorated methods of an object, which stay its own. */
export function registerTarget(manager: QueueManager, target: object): void {
  const own = metaOf(target);
  if (own !== undefined) {
    registerFunction(manager, own);
    return;
  }
  const methods = methodsOf(target);
  if (methods.length === 0)
    throw new InvalidOptionError('targets', 'must be asyncTask functions or objects with asyncTask methods');
  for (const { meta } of methods) {
    manager.registerTaskHandler(
      meta.name,
      async (payload) => await Reflect.apply(meta.fn, target, payload as unknown[]),
    );
  }
}

async function enqueueMeta(meta: AsyncTaskMeta, own: TaskOptions, args: readonly unknown[]): Promise<Task> {
  const manager = await managerOf(meta);
  if (meta.kind === 'function') registerFunction(manager, meta);
  return await manager.enqueueTask(meta.name, args, { ...meta.options, ...own });
}

async function managerOf({ manager }: AsyncTaskMeta): Promise<QueueManager> {
  if (typeof manager === 'function') return await manager();
  if (manager !== undefined) return manager;
  const { getQueueManager } = await import('./create.ts');
  return await getQueueManager();
}
