import fc from 'fast-check';
import { expect, test } from 'vitest';
import { compileKeyTemplate, InvalidOptionError, KeyTemplateError } from '@xiaoke/core';

const key = (template: Parameters<typeof compileKeyTemplate>[0], ...args: unknown[]): string =>
  compileKeyTemplate(template)(args);

test.each([
  ['user:{userId}', [{ userId: 7 }], 'user:7'],
  ['user:{user_id}', ['42'], 'user:42'],
  ['user:{0}', ['a', 'b'], 'user:a'],
  ['{1}:{0}', ['a', 'b'], 'b:a'],
  ['user:{0.id}', [{ id: 3 }], 'user:3'],
  ['a:{user.name}:{flag}', [{ user: { name: 'x' }, flag: false }], 'a:x:false'],
  ['{{{0}}}', ['a'], '{a}'],
  ['{{literal}}', [], '{literal}'],
  ['plain', [], 'plain'],
  ['{0}:{id}', ['org', 'ignored'], 'org:org'],
])('%s with %j is %s', (template, args, expected) => {
  expect(key(template, ...args)).toBe(expected);
});

test('a bigint is a value', () => {
  expect(key('user:{0}', 3n)).toBe('user:3');
});

test('a function makes the key from the arguments', () => {
  expect(key((org: string, id: number) => `${org}/${id}`, 'a', 1)).toBe('a/1');
  expect(() => key(() => '')).toThrow(KeyTemplateError);
});

test('a getter of a class counts as a property', () => {
  class User {
    get id(): string {
      return 'u1';
    }
  }
  expect(key('{id}', new User())).toBe('u1');
});

test.each([
  ['user:{userId}', [{}]],
  ['user:{userId}', [{ userId: '' }]],
  ['user:{userId}', [{ userId: null }]],
  ['user:{userId}', [{ userId: {} }]],
  ['user:{userId}', [{ userId: Number.NaN }]],
  ['user:{userId}', []],
  ['user:{1}', ['a']],
  ['{a}:{b}', ['a']],
  ['{user.name}', ['a']],
  ['{toString}', [{}]],
  ['{constructor}', [{}]],
])('%s with %j has no value and is an error, never an empty key', (template, args) => {
  expect(() => key(template, ...args)).toThrow(KeyTemplateError);
});

test.each(['', 'a{', 'a}', '{}', '{ a }', '{a', '{a..b}', '{.a}', 5, null])(
  '%j is refused when it is compiled',
  (template) => {
    expect(() => compileKeyTemplate(template as never, 'lock.key')).toThrow(InvalidOptionError);
    expect(() => compileKeyTemplate(template as never, 'lock.key')).toThrow(/lock\.key/);
  },
);

test('text without placeholders comes out as it went in, its braces doubled and undoubled', () => {
  fc.assert(
    fc.property(fc.string({ minLength: 1 }), (text) => {
      expect(key(text.replaceAll('{', '{{').replaceAll('}', '}}'))).toBe(text);
    }),
  );
});
