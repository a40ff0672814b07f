import { describe, expect, it } from 'vitest';
import { layFoundation, type BuildInput } from '../src/build.ts';
import { raise } from '../src/foundation.ts';
import type { Layer, Override } from '../src/layer.ts';
import { mergeLayers } from '../src/merge.ts';
import type { PlainObject, PlainValue } from '../src/plain-value.ts';
import { resolveDraft } from '../src/resolve-draft.ts';
import { useManagers } from './support.ts';

const { make, file } = useManagers();

/** Repeatable chance (mulberry32), so that a failure can be looked at. */
function chance(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

const KEYS = ['a', 'b', 'c', '0', '1'];

function someValue(next: (below: number) => number, depth: number): PlainValue {
  const kind = next(depth > 2 ? 4 : 7);
  if (kind === 0) return next(100);
  if (kind === 1) return ['x', '${SET}', '${NONE:-d}', 'y${SET}'][next(4)] ?? '';
  if (kind === 2) return null;
  if (kind === 3) return next(2) === 0;
  if (kind === 4) return Array.from({ length: next(3) }, () => someValue(next, depth + 1));
  return someObject(next, depth + 1);
}

function someObject(next: (below: number) => number, depth: number): PlainObject {
  const keys = KEYS.filter(() => next(3) > 0);
  return Object.fromEntries(keys.map((key) => [key, someValue(next, depth)]));
}

/** Overrides of which none lies within another, as run-time values are. */
function someOverrides(next: (below: number) => number, by?: string): Override[] {
  const overrides: Override[] = [];
  for (let count = next(4); count > 0; count -= 1) {
    const parts = Array.from({ length: 1 + next(3) }, () => KEYS[next(KEYS.length)] ?? 'a');
    const meets = overrides.some(({ parts: other }) =>
      parts.slice(0, other.length).every((part, index) => part === other[index] || index >= parts.length),
    );
    if (meets) continue;
    overrides.push(
      by === undefined
        ? { parts, value: someValue(next, 1) }
        : { parts, value: String(next(9)), text: true, by },
    );
  }
  return overrides;
}

const lookup = (name: string): { value: string; template: boolean } | undefined =>
  name === 'SET' ? { value: 'set', template: false } : undefined;

describe('run-time values on a foundation', () => {
  it('come to what merging all layers comes to, or are left to that', () => {
    let [raisedOften, barredOften, clashes] = [0, 0, 0];
    for (let seed = 1; seed <= 4_000; seed += 1) {
      const next = chance(seed);
      const rest: Layer[] = [
        { kind: 'defaults', name: 'defaults', values: someObject(next, 0), templates: true },
        { kind: 'base', name: 'base', values: someObject(next, 0), templates: true },
        {
          kind: 'environment',
          name: 'environment',
          overrides: next(2) === 0 ? [] : someOverrides(next, 'V'),
        },
      ];
      const runtime: Layer = { kind: 'runtime', name: 'memory', overrides: someOverrides(next) };
      const input = {
        layers: rest,
        issues: [],
        lookup,
        lists: new Map(),
        schema: undefined,
        jsonSchema: undefined,
      };
      const foundation = layFoundation(input as unknown as BuildInput);
      if (foundation === undefined) continue;
      const before = JSON.stringify(foundation.value);
      const raised = raise(foundation, runtime);
      expect(JSON.stringify(foundation.value)).toBe(before);
      const [defaults, base, environment] = rest as [Layer, Layer, Layer];
      const merged = mergeLayers([defaults, base, runtime, environment]);
      if (raised === undefined) {
        barredOften += 1;
        if (merged.issues.length > 0) clashes += 1;
        continue;
      }
      raisedOften += 1;
      const whole = resolveDraft(merged.draft, lookup, undefined);
      expect([seed, merged.issues, whole.issues]).toEqual([seed, [], []]);
      expect([seed, raised.value]).toEqual([seed, whole.value]);
      expect([seed, [...raised.traces.keys()].sort()]).toEqual([seed, [...whole.traces.keys()].sort()]);
    }
    // The test of the test.
    expect([raisedOften > 500, barredOften > 100, clashes > 50]).toEqual([true, true, true]);
  });

  it('leave what they do not touch as it is, and explain as before', async () => {
    const config = await make({
      defaults: { a: { x: 1 }, b: { y: { z: 1 } } },
      env: { map: { PIN: 'p' }, variables: { PIN: '1', NAME: 'n' } },
    });
    await config.addFileSource(await file('app.yaml', 'url: http://${NAME}/\nb:\n  q: [1, {r: 2}]\n'));
    const before = config.snapshot() as Record<string, unknown>;
    await config.set('b.y.z', 2);
    const after = config.snapshot() as Record<string, unknown>;
    expect([after['a'] === before['a'], config.get('b.q') === (before['b'] as { q: unknown }).q]).toEqual([
      true,
      true,
    ]);
    expect(config.explain('url')).toMatchObject({ value: 'http://n/', variables: ['NAME'] });
    expect(config.explain('b.y').winner).toMatchObject({ layer: 'runtime', value: { z: 2 } });
    expect(config.explain('p').winner).toMatchObject({ layer: 'environment' });
    await config.set('url', 'mine');
    expect(config.explain('url')).not.toHaveProperty('variables');
    await config.set('b.q[1].r', 3);
    expect(config.get('b')).toEqual({ y: { z: 2 }, q: [1, { r: 3 }] });
  });
});
