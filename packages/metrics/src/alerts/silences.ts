import { randomUUID } from 'node:crypto';
import { InvalidOptionError, toMilliseconds, type Duration } from '@xiaoke/core';
import { compileRegex } from '../store/promql/parse.ts';
import type { Labels } from '../store/promql/values.ts';

/** Label values by name; a value like `/pattern/` is a regular expression for the whole value. */
export type LabelMatch = Readonly<Record<string, string>>;

/** Alerts that nobody wants to hear of for a while. */
export interface Silence {
  readonly id: string;
  readonly match: LabelMatch;
  /** Milliseconds since the epoch. */
  readonly until: number;
  readonly author?: string | undefined;
  readonly comment?: string | undefined;
}

/** While an alert that fits `source` fires, those that fit `target` with the same values of `equal` are not notified. */
export interface InhibitRule {
  readonly source: LabelMatch;
  readonly target: LabelMatch;
  readonly equal?: readonly string[];
}

/** Whether labels fit; an empty match is refused, since it would fit everything. */
export function matcherOf(match: LabelMatch, option: string): (labels: Labels) => boolean {
  const entries = Object.entries(match ?? {});
  if (entries.length === 0) throw new InvalidOptionError(option, 'must name at least one label');
  const tests = entries.map(([name, value]) => {
    const pattern = /^\/(.*)\/$/s.exec(value)?.[1];
    const regex = pattern === undefined ? undefined : compileRegex(pattern);
    return (labels: Labels): boolean => {
      const own = Object.hasOwn(labels, name) ? (labels[name] ?? '') : '';
      return regex === undefined ? own === value : regex.test(own);
    };
  });
  return (labels) => tests.every((test) => test(labels));
}

const MAX_SILENCES = 1_000;

/** The silences in force. */
export class Silences {
  readonly #all = new Map<string, { silence: Silence; fits: (labels: Labels) => boolean }>();

  add(
    match: LabelMatch,
    duration: Duration,
    now: number,
    note: Pick<Silence, 'author' | 'comment'>,
  ): Silence {
    const milliseconds = toMilliseconds(duration, 'duration', { min: 1 });
    const fits = matcherOf(match, 'match');
    this.list(now);
    if (this.#all.size >= MAX_SILENCES)
      throw new InvalidOptionError('match', `makes more than ${MAX_SILENCES} silences`);
    const silence = { id: randomUUID(), match: { ...match }, until: now + milliseconds, ...note };
    this.#all.set(silence.id, { silence, fits });
    return silence;
  }

  restore(silence: Silence): void {
    this.#all.set(silence.id, { silence, fits: matcherOf(silence.match, 'match') });
  }

  remove(id: string): boolean {
    return this.#all.delete(id);
  }

  list(now: number): readonly Silence[] {
    for (const [id, { silence }] of this.#all) if (silence.until <= now) this.#all.delete(id);
    return [...this.#all.values()].map(({ silence }) => silence);
  }

  /** The silence that covers these labels now. */
  covering(labels: Labels, now: number): Silence | undefined {
    for (const { silence, fits } of this.#all.values()) {
      if (silence.until > now && fits(labels)) return silence;
    }
    return undefined;
  }
}
