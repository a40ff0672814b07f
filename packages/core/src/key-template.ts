import { InvalidOptionError, XiaokeError } from './errors.ts';

/**
 * How a key is made from the arguments of a call: a template (`'user:{userId}'`, `'user:{0}'`, `'user:{0.id}'`) or a
 * function of the arguments.
 *
 * A named placeholder reads that property of the first argument when it is an object. When the first argument is no
 * object and the template has exactly one named placeholder, the argument itself is the value. `{{` and `}}` are
 * literal braces.
 */
export type KeyTemplate = string | ((...args: never[]) => string);

/** A placeholder had no value in a call, or the function gave no key. Nothing was done. */
export class KeyTemplateError extends XiaokeError {
  static override readonly brand: string = 'xiaoke.KeyTemplateError';

  constructor(template: string, problem: string) {
    super('KEY_TEMPLATE', `Key template "${template}" ${problem}`, { details: { template } });
  }
}

type Part =
  | string
  | { readonly name: string; readonly path: readonly string[]; readonly positional: boolean };

/** The keys of a call; made once, used per call. */
export type KeyRenderer = (args: readonly unknown[]) => string;

/**
 * Parses a template once.
 *
 * @param option - the path named by the error
 * @returns a function that makes the key of a call, and throws {@link KeyTemplateError} when a placeholder has no value
 * @throws {@link InvalidOptionError} when the template is empty or malformed
 */
export function compileKeyTemplate(template: KeyTemplate, option = 'key'): KeyRenderer {
  if (typeof template === 'function') return (args) => callKeyFunction(template, args);
  if (typeof template !== 'string' || template === '') {
    throw new InvalidOptionError(option, 'must be a non-empty key template or a function that gives the key');
  }
  const parts = parse(template, option);
  const named = parts.filter((part) => typeof part === 'object' && !part.positional).length;
  return (args) => {
    let key = '';
    for (const part of parts) key += typeof part === 'string' ? part : valueOf(part, args, named, template);
    return key;
  };
}

function callKeyFunction(template: (...args: never[]) => string, args: readonly unknown[]): string {
  const key: unknown = template(...(args as never[]));
  if (typeof key === 'string' && key !== '') return key;
  throw new KeyTemplateError(template.name || 'function', 'gave no key');
}

// One pass: `{{`, `}}`, a placeholder, a run of text, or a brace that stands alone.
const TOKEN = /\{\{|\}\}|\{([^{}]*)\}|[^{}]+|[{}]/g;
const PATH = /^[\w$-]+(?:\.[\w$-]+)*$/;

function parse(template: string, option: string): readonly Part[] {
  const parts: Part[] = [];
  for (const [token, placeholder] of template.matchAll(TOKEN)) {
    if (token === '{{' || token === '}}') parts.push(token.charAt(0));
    else if (placeholder !== undefined) parts.push(placeholderOf(placeholder, template, option));
    else if (token === '{' || token === '}') {
      throw new InvalidOptionError(
        option,
        `has a stray "${token}" in "${template}"; double it for a literal brace`,
      );
    } else parts.push(token);
  }
  return parts;
}

function placeholderOf(name: string, template: string, option: string): Part {
  if (!PATH.test(name))
    throw new InvalidOptionError(option, `has a malformed placeholder "{${name}}" in "${template}"`);
  const path = name.split('.');
  return { name, path, positional: /^\d+$/.test(path[0] ?? '') };
}

function valueOf(
  part: Exclude<Part, string>,
  args: readonly unknown[],
  named: number,
  template: string,
): string {
  const first = args[0];
  const lone = !part.positional && named === 1 && part.path.length === 1;
  const value = lone && !isObject(first) ? first : read(part, args);
  if (typeof value === 'string' && value !== '') return value;
  if (
    typeof value === 'bigint' ||
    typeof value === 'boolean' ||
    (typeof value === 'number' && Number.isFinite(value))
  ) {
    return String(value);
  }
  throw new KeyTemplateError(template, `has no value for "{${part.name}}" in this call`);
}

function read(part: Exclude<Part, string>, args: readonly unknown[]): unknown {
  let value: unknown = part.positional ? args : args[0];
  for (const key of part.path) {
    // Getters live on prototypes, so inherited properties count, except what every object has.
    if (!isObject(value) || (key in Object.prototype && !Object.hasOwn(value, key))) return undefined;
    value = Reflect.get(value, key);
  }
  return value;
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}
