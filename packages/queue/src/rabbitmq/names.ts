import { createHash } from 'node:crypto';
import type { PriorityIndex } from '../backend.ts';

/** The version of the layout below; it is part of every name, so that a later one can live beside it. */
const LAYOUT = 'xiaoke1';
// A routing key has 255 bytes, and the delay's bits stand before the name.
const LONGEST = 190;

/** The names of one namespace in the broker. */
export class Names {
  readonly #namespace: string;
  /** Asked for with every message. */
  readonly #lists = new Map<string, readonly [string, string, string]>();

  constructor(namespace: string) {
    this.#namespace = word(namespace);
  }

  /** The list of a queue that holds one priority. */
  list(queue: string, priority: PriorityIndex): string {
    let names = this.#lists.get(queue);
    if (names === undefined) {
      const base = `${LAYOUT}.${this.#namespace}.${word(queue)}`;
      names = [short(`${base}.high`), short(`${base}.normal`), short(`${base}.low`)];
      this.#lists.set(queue, names);
    }
    return names[priority];
  }

  dead(queue: string): string {
    return short(`${LAYOUT}.${this.#namespace}.${word(queue)}.dead`);
  }

  get ledger(): string {
    return short(`${LAYOUT}.${this.#namespace}.ledger`);
  }

  get snapshots(): string {
    return short(`${LAYOUT}.${this.#namespace}.snapshots`);
  }
}

/** The delay tiers serve all namespaces of a virtual host. */
export const delayNames: {
  exchange(level: number): string;
  queue(level: number): string;
  readonly out: string;
  readonly plugin: string;
} = {
  exchange: (level: number): string => `${LAYOUT}.delay.${level}`,
  queue: (level: number): string => `${LAYOUT}.delay.${level}`,
  out: `${LAYOUT}.delay.out`,
  plugin: `${LAYOUT}.delay.plugin`,
};

/** Dots separate words in routing keys, and a lone star would match any. */
function word(name: string): string {
  return encodeURIComponent(name).replaceAll('.', '%2E').replaceAll('*', '%2A');
}

function short(name: string): string {
  if (name.length <= LONGEST) return name;
  const hash = createHash('sha256').update(name).digest('hex').slice(0, 32);
  return `${name.slice(0, LONGEST - 33)}~${hash}`;
}
