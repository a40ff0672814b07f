import { expect, it } from 'vitest';
import { Captures, type Place } from '../src/capture.ts';
import { resolveLifetime } from '../src/lifetime.ts';
import { Scope } from '../src/scope.ts';

const scope = new Scope(resolveLifetime(undefined));
const place = (key: string): Place => ({ scope, key, full: key });

it('a capture ends with a change of its key, and no other', () => {
  const captures = new Captures();
  const before = captures.open(place('a'));
  const other = captures.open(place('b'));
  captures.break('a');
  const after = captures.open(place('a'));
  expect([before.intact, other.intact, after.intact]).toEqual([false, true, true]);
  captures.close(after);
  expect(after.intact).toBe(false);
});

it('who changes the key keeps his own capture, unless somebody else changed it before', () => {
  const captures = new Captures();
  const mine = captures.open(place('a'));
  captures.break('a', mine);
  expect(mine.intact).toBe(true);
  captures.break('a');
  captures.break('a', mine);
  expect(mine.intact).toBe(false);
});

it('more changes than are remembered end every capture there is, and none that comes later', () => {
  const captures = new Captures();
  const changed = captures.open(place('a'));
  const other = captures.open(place('b'));
  captures.break('a');
  for (let i = 0; i < 10_000; i += 1) captures.break(`k${i}`);
  expect([changed.intact, other.intact]).toEqual([false, false]);
  expect(captures.open(place('a')).intact).toBe(true);
});

it('closing one twice does not forget the changes that others have to know of', () => {
  const captures = new Captures();
  const slow = captures.open(place('a'));
  const given = captures.open(place('b'));
  captures.break('a');
  captures.close(given);
  given.break();
  captures.close(given);
  expect(slow.intact).toBe(false);
});
