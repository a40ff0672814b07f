import type { StandardSchemaV1 } from '@xiaoke/core';
import { isPlainObject } from './plain-value.ts';

/** The types a JSON Schema knows. */
export type JsonType = 'string' | 'number' | 'integer' | 'boolean' | 'array' | 'object' | 'null';

/** A JSON Schema, as far as it is looked at. */
export type JsonSchema = Readonly<Record<string, unknown>>;

const MAX_HOPS = 32;

/** The JSON Schema of a schema that can tell it (Standard Schema 1.1: zod 4, arktype 2). */
export function jsonSchemaOf(schema: StandardSchemaV1 | undefined): JsonSchema | undefined {
  const standard: unknown = schema?.['~standard'];
  const converter: unknown = isObject(standard) ? standard['jsonSchema'] : undefined;
  const input: unknown = isObject(converter) ? converter['input'] : undefined;
  if (typeof input !== 'function') return undefined;
  try {
    const made: unknown = Reflect.apply(input, converter, [{ target: 'draft-2020-12' }]);
    return isObject(made) ? made : undefined;
  } catch {
    // A schema may hold what JSON Schema cannot say; then types are found by trying.
    return undefined;
  }
}

/** The sub-schemas that apply at `path`, with references followed and alternatives side by side. */
export function schemasAt(root: JsonSchema | undefined, path: readonly string[]): JsonSchema[] {
  let schemas = root === undefined ? [] : flatten(root, root, 0);
  for (const part of path) {
    schemas = schemas
      .flatMap((schema) => childrenOf(schema, part))
      .flatMap((child) => flatten(child, root ?? {}, 0));
  }
  return schemas;
}

function flatten(schema: unknown, root: JsonSchema, hops: number): JsonSchema[] {
  if (!isObject(schema) || hops > MAX_HOPS) return [];
  const ref = schema['$ref'];
  const target = typeof ref === 'string' ? resolveRef(ref, root) : undefined;
  const nested = ['anyOf', 'oneOf', 'allOf'].flatMap((word) =>
    Array.isArray(schema[word]) ? schema[word] : [],
  );
  const inner = [...(target === undefined ? [] : [target]), ...nested];
  return [schema, ...inner.flatMap((item) => flatten(item, root, hops + 1))];
}

function resolveRef(ref: string, root: JsonSchema): unknown {
  if (ref === '#') return root;
  if (!ref.startsWith('#/')) return undefined;
  let value: unknown = root;
  for (const part of ref.slice(2).split('/')) {
    const key = part.replaceAll('~1', '/').replaceAll('~0', '~');
    value = isObject(value) && Object.hasOwn(value, key) ? value[key] : undefined;
  }
  return value;
}

function childrenOf(schema: JsonSchema, part: string): unknown[] {
  const properties = schema['properties'];
  if (isObject(properties) && Object.hasOwn(properties, part)) return [properties[part]];
  const prefix = schema['prefixItems'];
  if (Array.isArray(prefix) && /^\d+$/.test(part) && Number(part) < prefix.length)
    return [prefix[Number(part)]];
  return [schema['items'], schema['additionalProperties']].filter((child) => isObject(child));
}

/** The types that `schemas` accept between them; empty when they do not say. */
export function typesOf(schemas: readonly JsonSchema[]): Set<JsonType> {
  const types = new Set<JsonType>();
  for (const schema of schemas) {
    const declared = Array.isArray(schema['type']) ? schema['type'] : [schema['type']];
    for (const type of declared) if (isJsonType(type)) types.add(type);
    const listed = Array.isArray(schema['enum']) ? schema['enum'] : [];
    const values: unknown[] = 'const' in schema ? [...listed, schema['const']] : listed;
    for (const value of values) types.add(typeOfValue(value));
  }
  return types;
}

/** The names of the properties that `schemas` know. */
export function propertiesOf(schemas: readonly JsonSchema[]): string[] {
  return schemas.flatMap((schema) =>
    isObject(schema['properties']) ? Object.keys(schema['properties']) : [],
  );
}

/** Whether one of `schemas` marks its value as secret: `writeOnly`, `format: password` or `secret`. */
export function marksSecret(schemas: readonly JsonSchema[]): boolean {
  return schemas.some(
    (schema) => schema['writeOnly'] === true || schema['format'] === 'password' || schema['secret'] === true,
  );
}

function typeOfValue(value: unknown): JsonType {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  const type = typeof value;
  return type === 'string' || type === 'number' || type === 'boolean' ? type : 'object';
}

function isJsonType(value: unknown): value is JsonType {
  return (
    typeof value === 'string' &&
    ['string', 'number', 'integer', 'boolean', 'array', 'object', 'null'].includes(value)
  );
}

function isObject(value: unknown): value is Record<string, unknown> {
  // arktype's `~standard` is no plain object.
  return typeof value === 'object' && value !== null && (isPlainObject(value) || !Array.isArray(value));
}
