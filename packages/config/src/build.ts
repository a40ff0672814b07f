import type { Clock, StandardSchemaV1 } from '@xiaoke/core';
import type { ConfigIssue } from './errors.ts';
import type { Foundation } from './foundation.ts';
import type { VariableLookup } from './interpolate.ts';
import type { JsonSchema } from './json-schema.ts';
import { positionIn, wordOf, type Layer } from './layer.ts';
import { mergeLayers, type ListMerge } from './merge.ts';
import { valueAt } from './path.ts';
import { isPlainObject, type PlainValue } from './plain-value.ts';
import { resolveDraft, type LeafTrace, type OpenText, type ResolvedDraft } from './resolve-draft.ts';
import { scrub, type SecretRules } from './secrets.ts';
import { runSchema, type FoundIssue, type Verdict } from './validate.ts';

/** What validation needs beside the values. */
export interface ValidateInput {
  readonly schema: StandardSchemaV1 | undefined;
  readonly secrets: SecretRules;
  readonly timeout: number;
  readonly clock: Clock;
}

/** What a configuration is built from. */
export interface BuildInput extends ValidateInput {
  /** Lowest precedence first. */
  readonly layers: readonly Layer[];
  /** Issues found while the layers were made. */
  readonly issues: readonly ConfigIssue[];
  readonly lookup: VariableLookup;
  readonly lists: ReadonlyMap<string, ListMerge>;
  readonly jsonSchema: JsonSchema | undefined;
}

/** A configuration that is whole and valid, or everything that is wrong with it. */
export type BuildResult =
  | { readonly built: Built }
  | { readonly issues: readonly ConfigIssue[]; readonly incomplete: boolean };

/** A valid configuration, with how it came about. */
export interface Built {
  readonly value: unknown;
  readonly layers: readonly Layer[];
  readonly traces: ReadonlyMap<string, LeafTrace>;
  readonly tainted: ReadonlySet<string>;
}

/** Merge, interpolate, coerce, validate: the whole configuration or nothing. */
export async function buildConfig(input: BuildInput): Promise<BuildResult> {
  const { value, open, traces, tainted, issues } = mergeAll(input);
  if (issues.length > 0) return { issues, incomplete: false };
  return await validateBuild({ value, layers: input.layers, traces, tainted }, open, input);
}

/** Lays the foundation of commits, where nothing is wrong and no text waits for the schema to tell its type. */
export function layFoundation(input: BuildInput): Foundation | undefined {
  const { value, open, traces, tainted, issues } = mergeAll(input);
  const certain = open.length === 0 || input.schema === undefined;
  if (issues.length > 0 || !certain || !isPlainObject(value)) return undefined;
  return { layers: input.layers, value, traces, tainted };
}

function mergeAll(input: BuildInput): ResolvedDraft {
  const merged = mergeLayers(input.layers, input.lists);
  const draft = resolveDraft(merged.draft, input.lookup, input.jsonSchema);
  return { ...draft, issues: [...input.issues, ...merged.issues, ...draft.issues] };
}

/** Validates what was merged; `open` names the texts whose type only the schema can tell. */
export async function validateBuild(
  merged: Built & { readonly value: PlainValue },
  open: readonly OpenText[],
  input: ValidateInput,
): Promise<BuildResult> {
  const { value } = merged;
  const verdict = await validateReadings(value, open, input);
  if (!('issues' in verdict)) return { built: { ...merged, value: verdict.value } };
  // Nothing is wrong, only missing: another source may still bring it.
  const incomplete = verdict.issues.every(
    (issue) => issue.parts.length > 0 && valueAt(value, issue.parts) === undefined,
  );
  // A validator of one value may quote another.
  input.secrets.notice(value);
  const issues = verdict.issues.map((issue) => explainIssue(issue, merged, input.secrets));
  return { issues, incomplete };
}

/**
 * Validates; where no JSON Schema told the type of a text, the next possible reading of each refused text is tried until
 * the schema is content or nothing is left to try.
 */
async function validateReadings(
  value: PlainValue,
  open: readonly OpenText[],
  input: ValidateInput,
): Promise<Verdict> {
  const { schema, timeout, clock } = input;
  const next = open.map((text) => ({ ...text, at: 0 }));
  const first = await runSchema(schema, value, timeout, clock);
  let verdict = first;
  while ('issues' in verdict) {
    const refused = verdict.issues;
    const movable = next.filter(
      (text) =>
        text.at + 1 < text.readings.length && refused.some((issue) => samePath(issue.parts, text.parts)),
    );
    if (movable.length === 0) return first;
    for (const text of movable) {
      text.at += 1;
      put(value, text.parts, text.readings[text.at] ?? null);
    }
    verdict = await runSchema(schema, value, timeout, clock);
  }
  return verdict;
}

function samePath(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((part, index) => part === b[index]);
}

function put(root: PlainValue, parts: readonly string[], value: PlainValue): void {
  const parent = valueAt(root, parts.slice(0, -1));
  if (typeof parent === 'object' && parent !== null) Reflect.set(parent, parts.at(-1) ?? '', value);
}

function explainIssue(issue: FoundIssue, { value, layers }: Built, secrets: SecretRules): ConfigIssue {
  const here = valueAt(value, issue.parts);
  const secret = secrets.holdsSecret(here, issue.parts) || issue.parts.length === 0;
  const message =
    secret && here !== undefined && issue.own !== true
      ? 'is not valid (the reason is withheld: it may hold a secret)'
      : secrets.clean(scrub(issue.message, [here]));
  const layer = layers.findLast((candidate) => wordOf(candidate, issue.parts) !== undefined);
  const override = layer && wordOf(layer, issue.parts)?.override;
  const position = layer && positionIn(layer, issue.parts);
  const source = override?.by ?? layer?.name;
  return {
    kind: 'schema',
    path: issue.path,
    message,
    ...(source === undefined ? {} : { source }),
    ...position,
  };
}
