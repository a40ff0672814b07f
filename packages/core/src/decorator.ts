import { InvalidOptionError } from './errors.ts';

/** A function as decorators and wrappers see it: any arguments, and a result of type `R`. */
export type DecoratedFunction<R = Promise<unknown>> = (...args: never[]) => R;

/**
 * One value that works as a TC39 standard method decorator, as an `experimentalDecorators` method decorator, and as a
 * plain wrapper of a function. The function's type never changes. `R` is what the method must return; by default it has
 * to be asynchronous.
 *
 * @example
 * ```ts
 * import { createDecorator } from '@xiaoke/core';
 * const logged = createDecorator((fn, { name }) => async (...args) => {
 *   console.log(`${name}(${args.join()})`);
 *   return await fn(...args);
 * });
 * const double = logged(async function double(n: number) { return 2 * n; });
 * console.log(await double(21));
 * // => double(21)
 * // => 42
 * ```
 */
export interface Decorator<R = Promise<unknown>> {
  /** Standard decorator. */
  <This, Args extends readonly unknown[], T extends R>(
    method: (this: This, ...args: Args) => T,
    context: ClassMethodDecoratorContext<This, (this: This, ...args: Args) => T>,
  ): (this: This, ...args: Args) => T;
  /** `experimentalDecorators`. */
  <F extends DecoratedFunction<R>>(
    target: object,
    key: string | symbol,
    descriptor: TypedPropertyDescriptor<F>,
  ): void;
  /** Plain function. */
  <F extends DecoratedFunction<R>>(fn: F): F;
}

/** What is known about the function being decorated. */
export interface DecoratedInfo {
  /** The method's or function's name; `anonymous` when it has none. */
  readonly name: string;
  /** `function` for a plain wrapper. */
  readonly kind: 'method' | 'function';
}

/** A function of unknown arguments with its `this`. */
export type UnknownFunction = (this: unknown, ...args: unknown[]) => unknown;

/**
 * Makes a {@link Decorator} from a function that wraps. `wrap` runs once per decorated method, not per instance; the
 * wrapper it returns gets the caller's `this`, and takes over the original's `name` and `length`.
 */
export function createDecorator<R = Promise<unknown>>(
  wrap: (fn: UnknownFunction, info: DecoratedInfo) => UnknownFunction,
): Decorator<R> {
  const decorate = (...args: readonly unknown[]): unknown => {
    const [subject, second, descriptor] = args;
    if (isContext(second)) {
      if (second.kind !== 'method')
        throw new InvalidOptionError('decorator', `decorates methods only, not a ${second.kind}`);
      return seal(wrap, subject, { name: String(second.name), kind: 'method' });
    }
    if (typeof second === 'string' || typeof second === 'symbol') {
      if (!isDescriptor(descriptor)) throw new InvalidOptionError('decorator', 'decorates methods only');
      descriptor.value = seal(wrap, descriptor.value, { name: String(second), kind: 'method' });
      return undefined;
    }
    return seal(wrap, subject, { name: nameOf(subject), kind: 'function' });
  };
  return decorate as Decorator<R>;
}

function seal(
  wrap: (fn: UnknownFunction, info: DecoratedInfo) => UnknownFunction,
  original: unknown,
  info: DecoratedInfo,
): UnknownFunction {
  if (typeof original !== 'function')
    throw new InvalidOptionError('decorator', 'decorates methods and functions only');
  const fn = original as UnknownFunction;
  return Object.defineProperties(wrap(fn, info), {
    name: { value: fn.name, configurable: true },
    length: { value: fn.length, configurable: true },
  });
}

function nameOf(subject: unknown): string {
  return typeof subject === 'function' && subject.name !== '' ? subject.name : 'anonymous';
}

function isContext(value: unknown): value is { readonly kind: string; readonly name: string | symbol } {
  return typeof value === 'object' && value !== null && 'kind' in value && 'name' in value;
}

function isDescriptor(value: unknown): value is PropertyDescriptor {
  return typeof value === 'object' && value !== null && 'value' in value;
}
