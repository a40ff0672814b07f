import { expect, test } from 'vitest';
import { createDecorator, InvalidOptionError, type Decorator } from '@xiaoke/core';

function traced(log: string[]): Decorator {
  return createDecorator(
    (fn, { name, kind }) =>
      function wrapper(...args) {
        log.push(`${kind} ${name}`);
        return Reflect.apply(fn, this, args);
      },
  );
}

const log: string[] = [];

class Clinic {
  readonly #name = 'north';

  @traced(log)
  async book(patient: string, _slot = 1): Promise<string> {
    return `${this.#name}:${patient}`;
  }

  @traced(log)
  static async open(): Promise<string> {
    return this.name;
  }
}

test('a standard decorator wraps methods, keeps this, private fields, name and length', async () => {
  log.length = 0;
  expect(await new Clinic().book('ann')).toBe('north:ann');
  expect(await Clinic.open()).toBe('Clinic');
  expect(log).toEqual(['method book', 'method open']);
  expect([new Clinic().book.name, new Clinic().book.length]).toEqual(['book', 1]);
});

test('the same value wraps a plain function', async () => {
  const seen: string[] = [];
  const sum = traced(seen)(async function add(a: number, b: number) {
    return a + b;
  });
  expect(await sum(1, 2)).toBe(3);
  expect([seen, sum.name, sum.length]).toEqual([['function add'], 'add', 2]);
  await traced(seen)(async () => 1)();
  expect(seen.at(-1)).toBe('function anonymous');
});

test('what is no method or function is refused', () => {
  const decorate = traced([]) as (...args: unknown[]) => unknown;
  expect(() => decorate(class {}, { kind: 'class', name: 'X' })).toThrow(InvalidOptionError);
  expect(() => decorate(5)).toThrow(InvalidOptionError);
  expect(() => decorate({}, 'field')).toThrow(InvalidOptionError);
  expect(() => decorate({}, 'getter', { get: () => 1 })).toThrow(InvalidOptionError);
});
