import {
  compileKeyTemplate,
  createDecorator,
  InvalidOptionError,
  type DecoratedInfo,
  type Decorator,
  type KeyTemplate,
  type UnknownFunction,
} from '@xiaoke/core';
import type { CachedOptions, CacheManager } from './cache-manager.ts';
import { canonicalKey } from './canonical-key.ts';

/** The functions that share a cache without a key template of their own, by the name in their keys. */
export type CachedNames = Map<string, UnknownFunction>;

/** Makes the decorator of one cache. */
export function cachedDecorator(
  cache: CacheManager,
  names: CachedNames,
  template: KeyTemplate | undefined,
  options: CachedOptions,
): Decorator {
  const render = template === undefined ? undefined : compileKeyTemplate(template, 'template');
  return createDecorator((fn, info) => {
    const keyOf = render ?? canonicalKeys(fn, info, names, options);
    return function cached(this: unknown, ...args: unknown[]): unknown {
      let key: string;
      try {
        key = keyOf(args);
      } catch (error) {
        return Promise.reject(error);
      }
      return cache.getOrSet(key, async () => Reflect.apply(fn, this, args), options);
    };
  });
}

// Two functions of one name would read each other's values, so the second one is refused.
function canonicalKeys(
  fn: UnknownFunction,
  info: DecoratedInfo,
  names: CachedNames,
  options: CachedOptions,
): (args: readonly unknown[]) => string {
  const name = options.name ?? info.name;
  if (options.name === undefined && info.name === 'anonymous')
    throw new InvalidOptionError('name', 'is needed to cache a function without a name');
  const owner = names.get(name);
  if (options.name === undefined && owner !== undefined && owner !== fn)
    throw new InvalidOptionError('name', `is needed: another function of this cache is called "${name}"`);
  names.set(name, fn);
  return (args) => name + canonicalKey(args);
}
