import { isNode, LineCounter, parseAllDocuments, parseDocument, type Document } from 'yaml';
import { ConfigParseError, type Position } from '../errors.ts';
import { positionAt, START } from './position.ts';

const SETTINGS = {
  version: '1.2',
  schema: 'core',
  merge: true,
  uniqueKeys: true,
  strict: true,
  stringKeys: true,
  // A code frame would put the text, and what is secret in it, into the message.
  prettyErrors: false,
  intAsBigInt: true,
  logLevel: 'silent',
} as const;

// 200 uses of one small anchor are legitimate; what a copy unfolds to is bounded by its count of values.
const MAX_ALIASES = 1_000;

/** Reads YAML 1.2 by its core schema, whatever a `%YAML` directive says, and nothing that is more than data. */
export function parseYaml(text: string, source: string): unknown {
  const lines = new LineCounter();
  const documents = parseAllDocuments(text, { ...SETTINGS, lineCounter: lines });
  const document = Array.isArray(documents) ? documents[0] : undefined;
  if (document === undefined) throw new ConfigParseError(source, 'the document is empty', START);
  if (Array.isArray(documents) && documents.length > 1) {
    const [from] = documents[1]?.range ?? [0];
    const { line, col: column } = lines.linePos(from);
    throw new ConfigParseError(source, 'there is more than one document', { line, column });
  }
  const problem = document.errors[0] ?? document.warnings[0];
  if (problem !== undefined) {
    const { line, col: column } = lines.linePos(problem.pos[0]);
    throw new ConfigParseError(source, describe(problem.code), { line, column });
  }
  const { directives } = document;
  if (directives?.yaml.explicit === true && directives.yaml.version !== '1.2') {
    const problem = 'a %YAML directive other than 1.2 would change how values are read';
    throw new ConfigParseError(source, problem, positionAt(text, text.search(/^%YAML/m)));
  }
  return toValue(document, text, source);
}

function toValue(document: Document, text: string, source: string): unknown {
  try {
    return document.toJS({ maxAliasCount: MAX_ALIASES });
  } catch {
    // The library's message may quote the text.
    const position = positionAt(text, Math.max(0, text.search(/\*\w/)));
    throw new ConfigParseError(source, 'an alias is used too often or points nowhere', position);
  }
}

function describe(code: string): string {
  return `not valid YAML (${code.toLowerCase().replaceAll('_', ' ')})`;
}

/** Where the value at `path` stands in a YAML text that parses. */
export function locateInYaml(text: string, path: readonly string[]): Position | undefined {
  const lines = new LineCounter();
  const document = parseDocument(text, { ...SETTINGS, lineCounter: lines });
  for (let length = path.length; length > 0; length -= 1) {
    const node: unknown = document.getIn(path.slice(0, length), true);
    if (isNode(node) && node.range) {
      const { line, col: column } = lines.linePos(node.range[0]);
      return { line, column };
    }
  }
  return undefined;
}
