/** What a name in `${NAME}` stands for. */
export interface Variable {
  readonly value: string;
  /** Whether the value itself may hold `${...}`: those of a `.env` file may, those of the process never do. */
  readonly template: boolean;
}

/** Finds the variables; `undefined` for one that is not set. */
export type VariableLookup = (name: string) => Variable | undefined;

/** What became of a template. */
export interface Expansion {
  readonly text: string;
  /** Whether the template was nothing but one `${...}`. */
  readonly whole: boolean;
  /** The names that were looked up. */
  readonly names: readonly string[];
  readonly problems: readonly ExpansionProblem[];
}

/** Why a template could not be expanded. */
export interface ExpansionProblem {
  readonly kind: 'unresolved' | 'interpolation';
  readonly message: string;
}

const MAX_DEPTH = 16;
const MAX_LENGTH = 65_536;

/**
 * Expands `${NAME}`, `${NAME:-default}`, `${NAME-default}`, `${NAME:?message}`, `${NAME?message}`, `${NAME:+other}` and
 * `${NAME+other}`, as a POSIX shell does (2.6.2 of the Shell Command Language): with the colon an empty value counts as
 * unset. The words nest. `$${` is a literal `${`; any other dollar sign is text, so that `$2b$10$...` and `pa$$word`
 * survive. What a variable of the process holds is never expanded again.
 */
export function expandTemplate(text: string, lookup: VariableLookup): Expansion {
  const expander = new Expander(lookup);
  const { text: expanded, whole } = expander.expand(text, []);
  return { text: expanded, whole, names: [...expander.names], problems: expander.problems };
}

class Expander {
  readonly names = new Set<string>();
  readonly problems: ExpansionProblem[] = [];
  readonly #lookup: VariableLookup;
  #budget = MAX_LENGTH;

  constructor(lookup: VariableLookup) {
    this.#lookup = lookup;
  }

  expand(text: string, chain: readonly string[]): { text: string; whole: boolean } {
    if (chain.length > MAX_DEPTH) return this.#fail(`variables nested deeper than ${MAX_DEPTH}`);
    let out = '';
    let at = 0;
    for (let start = text.indexOf('${'); start >= 0; start = text.indexOf('${', at)) {
      // Once the budget is spent nothing more is looked up: a bomb has more places than there is time.
      if (this.#budget < 0) return { text: '', whole: false };
      if (text.charAt(start - 1) === '$' && start > at) {
        out += `${text.slice(at, start - 1)}\${`;
        at = start + 2;
        continue;
      }
      const end = closingBrace(text, start + 2);
      if (end < 0) return this.#fail('"${" is never closed');
      const value = this.#reference(text.slice(start, end), chain);
      if (start === 0 && end === text.length - 1) return { text: value, whole: true };
      out += text.slice(at, start) + value;
      at = end + 1;
      if (out.length > MAX_LENGTH) return this.#fail(`expands to more than ${MAX_LENGTH} characters`);
    }
    return { text: out + text.slice(at), whole: false };
  }

  #reference(text: string, chain: readonly string[]): string {
    const reference = parseReference(text);
    if (reference === undefined) {
      return this.#fail('"${" must be followed by a name, such as ${PORT:-8080}').text;
    }
    const { name, kind, word } = reference;
    this.names.add(name);
    const value = this.#valueOf(name, chain);
    const set = value !== undefined && !(reference.orEmpty && value === '');
    if (kind === '+' ? set : kind === '-' && !set) return this.expand(word, [...chain, name]).text;
    if (set) return kind === '+' ? '' : value;
    if (kind !== '+') this.#unresolved(name, kind === '?' ? word : '');
    return '';
  }

  #unresolved(name: string, reason: string): void {
    const because = reason === '' ? '' : `: ${reason}`;
    this.problems.push({ kind: 'unresolved', message: `\${${name}} is not set${because}` });
  }

  #valueOf(name: string, chain: readonly string[]): string | undefined {
    const variable = this.#lookup(name);
    if (variable === undefined || !variable.template || !variable.value.includes('${')) {
      return this.#charge(variable?.value);
    }
    if (chain.includes(name)) {
      return this.#fail(`variables refer to each other: ${[...chain, name].join(' -> ')}`).text;
    }
    return this.#charge(this.expand(variable.value, [...chain, name]).text);
  }

  // Bounds the work, not only the result: a chain of variables that double each other ends here.
  #charge(value: string | undefined): string | undefined {
    this.#budget -= (value?.length ?? 0) + 1;
    if (this.#budget < 0) return this.#fail(`expands to more than ${MAX_LENGTH} characters`).text;
    return value;
  }

  #fail(message: string): { text: string; whole: boolean } {
    if (!this.problems.some((problem) => problem.message === message)) {
      this.problems.push({ kind: 'interpolation', message });
    }
    return { text: '', whole: false };
  }
}

interface Reference {
  readonly name: string;
  readonly kind: string;
  /** Whether an empty value counts as unset. */
  readonly orEmpty: boolean;
  readonly word: string;
}

/** Takes `${NAME`, with what follows up to the closing brace, apart. */
function parseReference(text: string): Reference | undefined {
  const head = /^\$\{([A-Za-z_][A-Za-z0-9_]*)(:?[-?+])?/.exec(text);
  if (head === null) return undefined;
  const [whole, name = '', operator = ''] = head;
  const word = text.slice(whole.length);
  if (operator === '' && word !== '') return undefined;
  return { name, kind: operator.slice(-1), orEmpty: operator.startsWith(':'), word };
}

function closingBrace(text: string, from: number): number {
  let depth = 1;
  for (let at = from; at < text.length; at += 1) {
    if (text.startsWith('${', at)) depth += 1;
    else if (text.charAt(at) === '}') depth -= 1;
    if (depth === 0) return at;
  }
  return -1;
}
