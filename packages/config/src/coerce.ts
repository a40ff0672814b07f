import { schemasAt, typesOf, type JsonSchema, type JsonType } from './json-schema.ts';
import { toPlain, type PlainValue } from './plain-value.ts';

/** Text made into a value, or left out because it is empty, or refused. */
export type Coerced =
  | { readonly outcome: 'value'; readonly value: PlainValue }
  | { readonly outcome: 'absent' }
  | { readonly outcome: 'refused'; readonly expected: string };

const DECIMAL = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/;
const BOOLEANS: Readonly<Record<string, boolean>> = {
  true: true,
  '1': true,
  yes: true,
  on: true,
  false: false,
  '0': false,
  no: false,
  off: false,
};

/**
 * Makes `text` the type that `schema` wants at `path`. A union with string keeps the text; empty text counts as absent
 * where no string is wanted.
 */
export function coerceText(text: string, schema: JsonSchema | undefined, path: readonly string[]): Coerced {
  return coerceTo(text, schemaTypes(schema, path), schema, path);
}

/** The types wanted at `path`; empty when the schema does not say. */
export function schemaTypes(schema: JsonSchema | undefined, path: readonly string[]): Set<JsonType> {
  return typesOf(schemasAt(schema, path));
}

function coerceTo(
  text: string,
  types: ReadonlySet<JsonType>,
  schema: JsonSchema | undefined,
  path: readonly string[],
): Coerced {
  if (types.size === 0 || types.has('string')) return { outcome: 'value', value: text };
  const trimmed = text.trim();
  if (trimmed === '') return { outcome: 'absent' };
  if (types.has('null') && trimmed === 'null') return { outcome: 'value', value: null };
  const number = types.has('number')
    ? toNumber(trimmed)
    : types.has('integer')
      ? toInteger(trimmed)
      : undefined;
  if (number !== undefined) return { outcome: 'value', value: number };
  const truth = types.has('boolean') ? BOOLEANS[trimmed.toLowerCase()] : undefined;
  if (truth !== undefined) return { outcome: 'value', value: truth };
  if (types.has('array')) return coerceList(trimmed, schema, path);
  const object = types.has('object') ? parseJson(trimmed) : undefined;
  if (object !== undefined && typeof object === 'object') return { outcome: 'value', value: object };
  return { outcome: 'refused', expected: [...types].join(' or ') };
}

function coerceList(text: string, schema: JsonSchema | undefined, path: readonly string[]): Coerced {
  if (text.startsWith('[')) {
    const list = parseJson(text);
    return Array.isArray(list)
      ? { outcome: 'value', value: list }
      : { outcome: 'refused', expected: 'array' };
  }
  const items: PlainValue[] = [];
  for (const [index, part] of text.split(',').entries()) {
    const item = coerceText(part.trim(), schema, [...path, String(index)]);
    if (item.outcome === 'refused') return { outcome: 'refused', expected: `array of ${item.expected}` };
    if (item.outcome === 'value') items.push(item.value);
  }
  return { outcome: 'value', value: items };
}

/**
 * What `text` could be where no JSON Schema tells: as the layer below has it, else the text, then a number, a boolean,
 * JSON. The schema's own verdict picks one.
 */
export function readingsOf(text: string, below: unknown): PlainValue[] {
  const trimmed = text.trim();
  const readings: (PlainValue | undefined)[] = [
    typeof below === 'number' ? toNumber(trimmed) : undefined,
    typeof below === 'boolean' ? BOOLEANS[trimmed.toLowerCase()] : undefined,
    typeof below === 'object' && below !== null ? parseJson(trimmed) : undefined,
    text,
    toNumber(trimmed),
    BOOLEANS[trimmed.toLowerCase()],
    parseJson(trimmed),
    Array.isArray(below) || trimmed.includes(',') ? trimmed.split(',').map((part) => part.trim()) : undefined,
  ];
  return readings.filter((reading) => reading !== undefined);
}

function toNumber(text: string): number | undefined {
  if (!DECIMAL.test(text)) return undefined;
  const value = Number(text);
  return Number.isFinite(value) && (!Number.isInteger(value) || Number.isSafeInteger(value))
    ? value
    : undefined;
}

function toInteger(text: string): number | undefined {
  const value = toNumber(text);
  return value !== undefined && Number.isInteger(value) ? value : undefined;
}

function parseJson(text: string): PlainValue | undefined {
  if (!/^[[{]/.test(text)) return undefined;
  try {
    return toPlain(JSON.parse(text));
  } catch {
    return undefined;
  }
}
