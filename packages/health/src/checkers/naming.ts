/**
 * Whether the first of a checker's arguments is a name rather than its target: a name is no URL, and a target follows.
 *
 * Every checker takes its name in front, as the methods of the manager do, or none and then has one by its kind.
 */
export function isNameBefore(first: unknown, second: unknown): first is string {
  return typeof first === 'string' && second !== undefined && !first.includes('://');
}
