import { describe, expect, it } from 'vitest';
import { Captures, type Place } from '../src/capture.ts';
import { Counter } from '../src/counters.ts';
import { resolveLifetime } from '../src/lifetime.ts';
import { Scope } from '../src/scope.ts';

const scope = new Scope(resolveLifetime(undefined));
const place = (key: string): Place => ({ scope, key, full: key });

describe.each([
  ['load', (captures: Captures, key: string) => captures.open(place(key))],
  ['read', (captures: Captures, key: string) => captures.beginRead(place(key))],
] as const)('the capture of a %s', (_, begin) => {
  it('ends with a change of its key, and no other', () => {
    const captures = new Captures();
    const before = begin(captures, 'a');
    const other = begin(captures, 'b');
    captures.break('a');
    const after = begin(captures, 'a');
    expect([before.intact, other.intact, after.intact]).toEqual([false, true, true]);
  });

  it('ends with its namespace, and with its tags', () => {
    const captures = new Captures();
    const tag = new Counter('tx');
    const tagged = begin(captures, 'a').withTags([tag]);
    const plain = begin(captures, 'a');
    tag.seen += 1;
    expect([tagged.intact, plain.intact]).toEqual([false, true]);
    scope.invalidate();
    expect(plain.intact).toBe(false);
  });
});

it('who changes the key keeps his own capture, unless somebody else changed it before', () => {
  const captures = new Captures();
  const mine = captures.open(place('a'));
  const read = captures.beginRead(place('a'));
  captures.break('a', mine);
  expect([mine.intact, read.intact]).toEqual([true, false]);
  captures.break('a');
  captures.break('a', mine);
  expect(mine.intact).toBe(false);
});

it('more changes than are remembered end every read there is, no load, and nothing that comes later', () => {
  const captures = new Captures();
  const changed = captures.beginRead(place('a'));
  const other = captures.beginRead(place('b'));
  const load = captures.open(place('c'));
  captures.break('a');
  for (let i = 0; i < 10_000; i += 1) captures.break(`k${i}`);
  expect([changed.intact, other.intact, load.intact]).toEqual([false, false, true]);
  expect(captures.beginRead(place('a')).intact).toBe(true);
});

it('a change is remembered until the last read has ended', () => {
  const captures = new Captures();
  const slow = captures.beginRead(place('a'));
  captures.beginRead(place('b'));
  captures.break('a');
  captures.endRead();
  expect(slow.intact).toBe(false);
  captures.endRead();
  expect(captures.beginRead(place('a')).intact).toBe(true);
});
