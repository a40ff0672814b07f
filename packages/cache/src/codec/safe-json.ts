/**
 * `JSON.parse` whose result pollutes nothing: `JSON.parse('{"__proto__":…}')` makes an own property of that name, and the
 * first `Object.assign` or deep merge turns it into a prototype. Such keys are dropped. Most texts hold none, which one
 * search for the word, and for escapes that could spell it, tells.
 */
export function parseJson(text: string): unknown {
  if (!text.includes('__proto__') && !text.includes('"constructor"') && !text.includes('\\u00'))
    return JSON.parse(text);
  return JSON.parse(text, dropDangerous);
}

function dropDangerous(this: unknown, key: string, value: unknown): unknown {
  if (key === '__proto__') return undefined;
  const pollutes =
    key === 'constructor' && typeof value === 'object' && value !== null && Object.hasOwn(value, 'prototype');
  return pollutes ? undefined : value;
}
