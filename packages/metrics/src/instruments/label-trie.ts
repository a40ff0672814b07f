import type { LabelRecord } from './label-schema.ts';

/** What the trie holds: something that knows its own label values. */
export interface Labelled {
  readonly values: readonly string[];
}

type Node<S extends Labelled> = S | Map<unknown, Node<S>>;

/**
 * Finds a series by its label values without joining them into a string: a level of maps per label. A branch that holds
 * a single series ends early (its remaining values are compared), so a high-cardinality first label does not cost a map
 * per series and level.
 */
export class LabelTrie<S extends Labelled> {
  readonly #names: readonly string[];
  #root: Node<S> | undefined;

  constructor(names: readonly string[]) {
    this.#names = names;
  }

  /** The series of `labels`, read in place; `undefined` also when a value is not a string. */
  find(labels: LabelRecord): S | undefined {
    const names = this.#names;
    let node = this.#root;
    let depth = 0;
    for (; depth < names.length && node instanceof Map; depth++) {
      node = node.get(labels[names[depth] as string]);
    }
    if (node === undefined || node instanceof Map) return undefined;
    for (; depth < names.length; depth++) {
      if (node.values[depth] !== labels[names[depth] as string]) return undefined;
    }
    return node;
  }

  /** The series of these values, in the order of the names. */
  get(values: readonly string[]): S | undefined {
    let node = this.#root;
    let depth = 0;
    for (; depth < values.length && node instanceof Map; depth++) node = node.get(values[depth]);
    if (node === undefined || node instanceof Map) return undefined;
    for (; depth < values.length; depth++) if (node.values[depth] !== values[depth]) return undefined;
    return node;
  }

  /** These values, with strings that a series nearby has already instead of others of the same text. */
  shared(values: readonly string[]): readonly string[] {
    const own = [...values];
    let node = this.#root;
    for (let depth = 0; depth < own.length && node instanceof Map; depth++) {
      const next: Node<S> | undefined = node.get(own[depth]);
      if (next === undefined) break;
      let near: Node<S> | undefined = next;
      while (near instanceof Map) near = near.values().next().value;
      own[depth] = near?.values[depth] ?? (own[depth] as string);
      node = next;
    }
    return own;
  }

  add(series: S): void {
    this.#root = this.#insert(this.#root, series, 0);
  }

  delete(values: readonly string[]): void {
    this.#root = this.#remove(this.#root, values, 0);
  }

  clear(): void {
    this.#root = undefined;
  }

  #insert(node: Node<S> | undefined, series: S, depth: number): Node<S> {
    if (node === undefined) return series;
    if (node instanceof Map) {
      node.set(series.values[depth], this.#insert(node.get(series.values[depth]), series, depth + 1));
      return node;
    }
    const split = new Map<unknown, Node<S>>([[node.values[depth], node]]);
    split.set(series.values[depth], this.#insert(split.get(series.values[depth]), series, depth + 1));
    return split;
  }

  #remove(node: Node<S> | undefined, values: readonly string[], depth: number): Node<S> | undefined {
    if (!(node instanceof Map))
      return node?.values.every((value, i) => value === values[i]) ? undefined : node;
    const rest = this.#remove(node.get(values[depth]), values, depth + 1);
    if (rest === undefined) node.delete(values[depth]);
    else node.set(values[depth], rest);
    return node.size === 0 ? undefined : node;
  }
}
