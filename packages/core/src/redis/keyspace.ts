/** Makes the keys of one logical thing: all share one hash tag, so in a Cluster they share one slot. */
export type Keyspace = (suffix: string) => string;

/**
 * The keys `prefix:{tag}:suffix`. Braces and percent signs in `tag` are percent-encoded, since a brace of its own would
 * end the hash tag early.
 *
 * @example
 * ```ts
 * import { keyspace } from '@xiaoke/core/redis';
 * console.log(keyspace('xl', 'user:1')('h')); // => xl:{user:1}:h
 * ```
 */
export function keyspace(prefix: string, tag: string): Keyspace {
  const base = `${prefix}:{${encodeTag(tag)}}:`;
  return (suffix) => base + suffix;
}

/** Makes any text safe inside a hash tag; {@link decodeTag} gives it back. */
export function encodeTag(tag: string): string {
  return tag.replaceAll(/[%{}]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
}

/** The inverse of {@link encodeTag}. */
export function decodeTag(encoded: string): string {
  return encoded.replaceAll(/%(25|7B|7D)/g, (_, code: string) =>
    String.fromCharCode(Number.parseInt(code, 16)),
  );
}
