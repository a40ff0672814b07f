import { MAX_DEPTH } from '../plain-value.ts';

/** What is wrong with a JSON text, and at which character. */
export class JsonProblem extends Error {
  readonly offset: number;

  constructor(offset: number, problem: string) {
    super(problem);
    this.offset = offset;
  }
}

const LITERAL = /true|false|null/y;
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
// eslint-disable-next-line no-control-regex
const STRING = /"(?:[^"\\\u0000-\u001F]|\\(?:["\\/bfnrt]|u[\dA-Fa-f]{4}))*"/y;

/**
 * Walks a JSON text to tell what `JSON.parse` does not: where the error is (V8 says so only at times, and quotes the
 * text), which key stands twice, and where each value stands.
 *
 * @param onValue - called with the path of each value and the offset of its key, or of the value itself in a list
 * @throws JsonProblem at the first error
 */
export function scanJson(text: string, onValue?: (path: readonly string[], offset: number) => void): void {
  const scan = new Scan(text, onValue);
  scan.value([]);
  scan.end();
}

class Scan {
  readonly #text: string;
  readonly #onValue: ((path: readonly string[], offset: number) => void) | undefined;
  #at = 0;

  constructor(text: string, onValue: ((path: readonly string[], offset: number) => void) | undefined) {
    this.#text = text;
    this.#onValue = onValue;
  }

  end(): void {
    this.#space();
    if (this.#at < this.#text.length) throw new JsonProblem(this.#at, 'text after the end of the document');
  }

  value(path: readonly string[]): void {
    if (path.length > MAX_DEPTH) throw new JsonProblem(this.#at, `nested deeper than ${MAX_DEPTH} levels`);
    this.#space();
    const character = this.#text.charAt(this.#at);
    if (character === '{') this.#object(path);
    else if (character === '[') this.#array(path);
    else if (character === '"') this.#match(STRING, 'a broken string');
    else if (character === '') throw new JsonProblem(this.#at, 'the document ends too early');
    else this.#match(/[\d-]/.test(character) ? NUMBER : LITERAL, 'a value was expected');
  }

  #object(path: readonly string[]): void {
    const seen = new Set<string>();
    this.#at += 1;
    if (this.#take('}')) return;
    do {
      this.#space();
      const start = this.#at;
      const key = String(JSON.parse(this.#match(STRING, 'a key in double quotes was expected')));
      if (seen.has(key)) throw new JsonProblem(start, 'the same key stands twice');
      seen.add(key);
      if (!this.#take(':')) throw new JsonProblem(this.#at, 'a colon was expected');
      const at = [...path, key];
      this.#onValue?.(at, start);
      this.value(at);
    } while (this.#take(','));
    if (!this.#take('}')) throw this.#expected('a comma or "}" was expected');
  }

  #array(path: readonly string[]): void {
    this.#at += 1;
    if (this.#take(']')) return;
    let index = 0;
    do {
      this.#space();
      const at = [...path, String(index)];
      this.#onValue?.(at, this.#at);
      this.value(at);
      index += 1;
    } while (this.#take(','));
    if (!this.#take(']')) throw this.#expected('a comma or "]" was expected');
  }

  #expected(problem: string): JsonProblem {
    return new JsonProblem(this.#at, this.#at < this.#text.length ? problem : 'the document ends too early');
  }

  #take(character: string): boolean {
    this.#space();
    if (this.#text.charAt(this.#at) !== character) return false;
    this.#at += 1;
    return true;
  }

  #match(pattern: RegExp, problem: string): string {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text);
    if (found === null) throw new JsonProblem(this.#at, problem);
    this.#at += found[0].length;
    return found[0];
  }

  #space(): void {
    while (/[ \t\r\n]/.test(this.#text.charAt(this.#at))) this.#at += 1;
  }
}
