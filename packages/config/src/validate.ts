import {
  issuePath,
  TimeoutError,
  withTimeout,
  type Clock,
  type SchemaIssue,
  type StandardSchemaV1,
} from '@xiaoke/core';
import { isPlainObject } from './plain-value.ts';

/** One issue of a schema, with its path in parts. */
export interface FoundIssue {
  readonly parts: readonly string[];
  readonly path: string;
  readonly message: string;
  /** Whether the words are ours, and so hold no value. */
  readonly own?: boolean;
}

/** Either the schema's output, or what it refused. */
export type Verdict = { readonly value: unknown } | { readonly issues: readonly FoundIssue[] };

/** Runs a schema on a copy of `value`, so that one which changes its input changes nothing of ours. */
export async function runSchema(
  schema: StandardSchemaV1 | undefined,
  value: unknown,
  timeout: number,
  clock: Clock,
): Promise<Verdict> {
  if (schema === undefined) return { value };
  try {
    const answer = schema['~standard'].validate(clone(value));
    const result = await (answer instanceof Promise
      ? withTimeout(answer, timeout, 'validation', { clock, ref: false })
      : answer);
    if (result.issues !== undefined) return { issues: result.issues.map(found) };
    if (isPlainObject(result.value)) return { value: result.value };
    return { issues: [{ parts: [], path: '', message: 'the schema must give an object', own: true }] };
  } catch (error) {
    // What a refinement throws may quote values, so only its kind is told.
    const reason = error instanceof TimeoutError ? error.message : `the schema threw ${nameOf(error)}`;
    return { issues: [{ parts: [], path: '', message: reason, own: true }] };
  }
}

function found(issue: SchemaIssue): FoundIssue {
  const parts = (issue.path ?? []).map((part) => String(typeof part === 'object' ? part.key : part));
  return { parts, path: issuePath(issue), message: issue.message };
}

function nameOf(error: unknown): string {
  return error instanceof Error ? error.constructor.name : typeof error;
}

function clone(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(clone);
  if (!isPlainObject(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, clone(item)]));
}
