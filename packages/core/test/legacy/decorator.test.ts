import { expect, test } from 'vitest';
import { createDecorator } from '@xiaoke/core';

const log: string[] = [];
const traced = createDecorator(
  (fn, { name, kind }) =>
    function wrapper(...args) {
      log.push(`${kind} ${name}`);
      return Reflect.apply(fn, this, args);
    },
);

class Clinic {
  name = 'north';

  @traced
  async book(patient: string): Promise<string> {
    return `${this.name}:${patient}`;
  }

  @traced
  static async open(): Promise<string> {
    return this.name;
  }
}

test('an experimentalDecorators method decorator wraps methods and keeps this, name and length', async () => {
  expect(await new Clinic().book('ann')).toBe('north:ann');
  expect(await Clinic.open()).toBe('Clinic');
  expect(log).toEqual(['method book', 'method open']);
  expect([new Clinic().book.name, new Clinic().book.length]).toEqual(['book', 1]);
});
