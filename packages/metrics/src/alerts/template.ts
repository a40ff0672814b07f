import { InvalidOptionError } from '@xiaoke/core';
import {
  fixed,
  general,
  humanize,
  humanize1024,
  humanizeDuration,
  humanizePercentage,
  humanizeTimestamp,
  shortest,
} from './humanize.ts';

/** What a template can refer to. */
export interface TemplateData {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

type Datum = string | number;
type Step = (input: Datum | undefined, data: TemplateData) => Datum;

/** A compiled text with `{{ … }}` in it. */
export type Template = (data: TemplateData) => string;

const NUMERIC: Readonly<Record<string, (value: number) => string>> = {
  humanize,
  humanize1024,
  humanizeDuration,
  humanizePercentage,
  humanizeTimestamp,
};

const TEXTUAL: Readonly<Record<string, (text: string) => string>> = {
  toUpper: (text) => text.toUpperCase(),
  toLower: (text) => text.toLowerCase(),
  title: (text) => text.replaceAll(/\b\w/g, (letter) => letter.toUpperCase()),
};

/**
 * Compiles the part of Go's templates that alert texts use: `$labels.name`, `$value`, text in quotes, and pipes through
 * `humanize…`, `printf`, `toUpper`, `toLower`, `title`.
 *
 * @throws `INVALID_OPTION` for anything else, so that a text is never half filled in
 */
export function compileTemplate(text: string, option: string): Template {
  const parts: (string | Template)[] = [];
  let position = 0;
  let trimNext = false;
  const literal = (end: number | undefined, trimEnd: boolean): void => {
    let piece = text.slice(position, end);
    if (trimNext) piece = piece.trimStart();
    parts.push(trimEnd ? piece.trimEnd() : piece);
  };
  // `{{-` and `-}}` take the space around them away.
  for (const match of text.matchAll(/\{\{(-(?=\s))?\s*(.*?)\s*((?<=\s)-)?\}\}/gs)) {
    literal(match.index, match[1] !== undefined);
    parts.push(compileAction(match[2] ?? '', option));
    trimNext = match[3] !== undefined;
    position = match.index + match[0].length;
  }
  literal(undefined, false);
  return (data) => parts.map((part) => (typeof part === 'string' ? part : part(data))).join('');
}

function compileAction(action: string, option: string): Template {
  const steps = splitPipes(action).map((step) => compileStep(step.trim(), option));
  return (data) => {
    let value: Datum | undefined;
    for (const step of steps) value = step(value, data);
    return typeof value === 'number' ? shortest(value) : (value ?? '');
  };
}

function splitPipes(action: string): readonly string[] {
  return action.match(/(?:"(?:[^"\\]|\\.)*"|`[^`]*`|[^|"`])+/g) ?? [''];
}

function compileStep(step: string, option: string): Step {
  const [name = '', ...args] = step.match(/"(?:[^"\\]|\\.)*"|`[^`]*`|\S+/g) ?? [];
  const operands = args.map((arg) => compileOperand(arg, option));
  const given = (input: Datum | undefined, data: TemplateData): Datum =>
    input ?? operands.at(-1)?.(undefined, data) ?? '';
  const numeric = NUMERIC[name];
  if (numeric !== undefined) return (input, data) => numeric(Number(given(input, data)));
  const textual = TEXTUAL[name];
  if (textual !== undefined) return (input, data) => textual(String(given(input, data)));
  if (name === 'printf') {
    return (input, data) => {
      const [format = '', ...values] = operands.map((operand) => operand(undefined, data));
      return printf(String(format), input === undefined ? values : [...values, input]);
    };
  }
  if (args.length > 0) throw unsupported(step, option);
  return compileOperand(name, option);
}

function compileOperand(text: string, option: string): Step {
  const label = /^(?:\$labels|\.Labels)\.([a-zA-Z_]\w*)$/.exec(text)?.[1];
  if (label !== undefined)
    return (_input, { labels }) => (Object.hasOwn(labels, label) ? (labels[label] ?? '') : '');
  if (text === '$value' || text === '.Value') return (_input, { value }) => value;
  if (/^"(?:[^"\\]|\\.)*"$/.test(text)) {
    const literal = JSON.parse(text) as string;
    return () => literal;
  }
  if (/^`[^`]*`$/.test(text)) return () => text.slice(1, -1);
  if (text !== '' && !Number.isNaN(Number(text))) return () => Number(text);
  throw unsupported(text, option);
}

function unsupported(text: string, option: string): InvalidOptionError {
  return new InvalidOptionError(
    option,
    `uses "{{ ${text.slice(0, 60)} }}", which is not supported in templates`,
  );
}

/** `%s`, `%v`, `%d`, `%f`, `%g`, `%%`, with a precision. */
function printf(format: string, values: readonly Datum[]): string {
  let next = 0;
  return format.replaceAll(/%(?:\.(\d+))?([svdfg%])/g, (_, precision: string | undefined, verb: string) => {
    if (verb === '%') return '%';
    const value = values[next++];
    if (value === undefined) return '';
    if (verb === 'd') return String(Math.trunc(Number(value)));
    if (verb === 'f') return fixed(Number(value), Number(precision ?? 6));
    if (verb === 'g' && precision !== undefined)
      return general(Number(value), Math.max(1, Number(precision)));
    return typeof value === 'number' ? shortest(value) : value;
  });
}
