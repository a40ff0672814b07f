import type { Position } from '../errors.ts';

/** Where a document begins: what is wrong with all of it is said of here. */
export const START: Position = { line: 1, column: 1 };

/** The line and column of a character of `text`. */
export function positionAt(text: string, offset: number): Position {
  const before = text.slice(0, offset);
  const lastBreak = before.lastIndexOf('\n');
  let line = 1;
  for (let at = before.indexOf('\n'); at >= 0; at = before.indexOf('\n', at + 1)) line += 1;
  return { line, column: offset - lastBreak };
}
