import type { SyntaxNode } from '@lezer/common';
import { parser } from '@prometheus-io/lezer-promql';
import { MetricsError } from '../../errors.ts';
import type { Expr, Grouping, Matcher, TimeShift } from './ast.ts';
import { parseDuration } from './durations.ts';

const MAX_LENGTH = 20_000;

/**
 * Parses PromQL with Prometheus's own grammar.
 *
 * @throws `PROMQL_SYNTAX` with the position
 */
export function parsePromql(text: string): Expr {
  if (typeof text !== 'string' || text.trim() === '' || text.length > MAX_LENGTH) {
    throw new MetricsError('PROMQL_SYNTAX', `a query must be a text of 1 to ${MAX_LENGTH} characters`);
  }
  const tree = parser.parse(text);
  tree.iterate({
    enter: (node) => {
      if (node.type.isError) throw parseError(text, node.from);
    },
  });
  const top = tree.topNode.firstChild;
  if (top === null) throw syntaxError(text, 0, 'no expression');
  return new Reader(text).expr(top);
}

function syntaxError(text: string, position: number, problem: string): MetricsError {
  const near = text.slice(position, position + 30);
  return new MetricsError('PROMQL_SYNTAX', `${problem} at position ${position + 1}, near "${near}"`, {
    details: { position: position + 1 },
  });
}

// The grammar knows every function of Prometheus; an unknown one shows as a parenthesis that it does not expect.
function parseError(text: string, position: number): MetricsError {
  const name = /([a-zA-Z_]\w*)\s*$/.exec(text.slice(0, position))?.[1];
  if (name === undefined || !/^\s*\(/.test(text.slice(position))) {
    return syntaxError(text, position, 'unexpected input');
  }
  return new MetricsError('PROMQL_UNSUPPORTED', `the function ${name}() is not supported`, {
    details: { function: name },
  });
}

const NO_SHIFT: TimeShift = { offset: 0, at: undefined };

/** Turns the nodes of the grammar into expressions. */
class Reader {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  expr(node: SyntaxNode): Expr {
    switch (node.name) {
      case 'NumberDurationLiteral':
        return { kind: 'number', value: parseNumber(this.#of(node)) };
      case 'StringLiteral':
        return { kind: 'string', value: unquote(this.#of(node)) };
      case 'VectorSelector':
        return { kind: 'vector', matchers: this.#matchers(node), ...NO_SHIFT };
      case 'MatrixSelector':
        return this.#matrix(node);
      case 'SubqueryExpr':
        return this.#subquery(node);
      case 'ParenExpr':
        return { kind: 'paren', expr: this.expr(this.#first(node)) };
      case 'UnaryExpr':
        return this.#unary(node);
      case 'OffsetExpr':
        return this.#shifted(node, (expr) => ({ ...expr, offset: this.#offset(node) }));
      case 'StepInvariantExpr':
        return this.#shifted(node, (expr) => ({ ...expr, at: this.#at(node) }));
      case 'FunctionCall':
        return {
          kind: 'call',
          name: this.#of(this.#child(node, 'FunctionIdentifier')),
          args: this.#arguments(node),
        };
      case 'AggregateExpr':
        return this.#aggregate(node);
      case 'BinaryExpr':
        return this.#binary(node);
      default:
        throw this.#unsupported(node);
    }
  }

  #matrix(node: SyntaxNode): Expr {
    const [selector, range] = children(node);
    if (selector === undefined || range === undefined) throw this.#unsupported(node);
    return { kind: 'matrix', matchers: this.#matchers(selector), range: this.#duration(range), ...NO_SHIFT };
  }

  #subquery(node: SyntaxNode): Expr {
    const [expr, range, step] = children(node);
    if (expr === undefined || range === undefined) throw this.#unsupported(node);
    return {
      kind: 'subquery',
      expr: this.expr(expr),
      range: this.#duration(range),
      step: step === undefined ? undefined : this.#duration(step),
      ...NO_SHIFT,
    };
  }

  #unary(node: SyntaxNode): Expr {
    const [operator, operand] = children(node);
    if (operator === undefined || operand === undefined) throw this.#unsupported(node);
    const expr = this.expr(operand);
    return this.#of(operator) === '-' ? { kind: 'negate', expr } : expr;
  }

  // The grammar lets a modifier cover a whole binary expression; it belongs to the operand in front of it.
  #shifted(node: SyntaxNode, shift: (expr: Shiftable) => Expr): Expr {
    const apply = (expr: Expr): Expr => {
      if (expr.kind === 'binary') return { ...expr, right: apply(expr.right) };
      if (expr.kind === 'negate') return { ...expr, expr: apply(expr.expr) };
      if (expr.kind === 'vector' || expr.kind === 'matrix' || expr.kind === 'subquery') return shift(expr);
      throw syntaxError(this.#text, node.from, 'offset and @ follow a selector or a subquery');
    };
    return apply(this.expr(this.#first(node)));
  }

  #offset(node: SyntaxNode): number {
    return this.#duration(this.#child(node, 'OffsetDurationExpr'));
  }

  #at(node: SyntaxNode): number | 'start' | 'end' {
    const preprocessor = node.getChild('AtModifierPreprocessors');
    if (preprocessor !== null) return this.#of(preprocessor) === 'start' ? 'start' : 'end';
    const last = children(node).at(-1);
    if (last === undefined) throw this.#unsupported(node);
    return parseNumber(this.#of(last)) * 1_000;
  }

  #aggregate(node: SyntaxNode): Expr {
    const args = this.#arguments(node);
    const expr = args.at(-1);
    if (expr === undefined || args.length > 2) {
      throw syntaxError(this.#text, node.from, 'an aggregation takes one or two arguments');
    }
    const modifier = node.getChild('AggregateModifier');
    const grouping =
      modifier === null
        ? undefined
        : { labels: this.#labels(modifier), keep: modifier.getChild('By') !== null };
    const op = this.#of(this.#child(node, 'AggregateOp')).toLowerCase();
    return { kind: 'aggregate', op, grouping, parameter: args.length === 2 ? args[0] : undefined, expr };
  }

  #binary(node: SyntaxNode): Expr {
    const parts = children(node);
    const [left, operator, right] = [parts[0], parts[1], parts.at(-1)];
    if (left === undefined || operator === undefined || right === undefined) throw this.#unsupported(node);
    const clause = node.getChild('MatchingModifierClause');
    const op = this.#of(operator).toLowerCase();
    const operand = this.expr(left);
    const whole = (of: Expr): Expr => ({
      kind: 'binary',
      op,
      left: of,
      right: this.expr(right),
      bool: node.getChild('BoolModifier') !== null,
      ...this.#matching(clause),
    });
    // The grammar reads -2 in front of ^ as a literal, but the power binds more tightly.
    if (op === '^' && operand.kind === 'number' && this.#of(left).startsWith('-')) {
      return { kind: 'negate', expr: whole({ kind: 'number', value: -operand.value }) };
    }
    return whole(operand);
  }

  #matching(clause: SyntaxNode | null): Pick<Extract<Expr, { kind: 'binary' }>, 'matching' | 'group'> {
    if (clause === null) return { matching: undefined, group: undefined };
    const lists = clause.getChildren('GroupingLabels');
    const matching: Grouping = {
      labels: lists[0] === undefined ? [] : this.#names(lists[0]),
      keep: clause.getChild('On') !== null,
    };
    const side = clause.getChild('GroupLeft') ? 'left' : clause.getChild('GroupRight') ? 'right' : undefined;
    if (side === undefined) return { matching, group: undefined };
    return { matching, group: { side, include: lists[1] === undefined ? [] : this.#names(lists[1]) } };
  }

  #matchers(node: SyntaxNode): readonly Matcher[] {
    const name = node.getChild('Identifier');
    const matchers: Matcher[] = name === null ? [] : [{ name: '__name__', op: '=', value: this.#of(name) }];
    const list = node.getChild('LabelMatchers');
    for (const part of list === null ? [] : children(list)) {
      const own = children(part);
      if (part.name === 'QuotedLabelName') {
        matchers.push({ name: '__name__', op: '=', value: unquote(this.#of(part)) });
        continue;
      }
      const [label, op, value] = own;
      if (label === undefined || op === undefined || value === undefined) throw this.#unsupported(part);
      const text = this.#of(label);
      matchers.push({
        name: /^["'`]/.test(text) ? unquote(text) : text,
        op: this.#of(op) as Matcher['op'],
        value: unquote(this.#of(value)),
      });
    }
    checkMatchers(matchers);
    return matchers;
  }

  #arguments(node: SyntaxNode): readonly Expr[] {
    const body = node.getChild('FunctionCallBody');
    return body === null ? [] : children(body).map((argument) => this.expr(argument));
  }

  #labels(node: SyntaxNode): readonly string[] {
    const list = node.getChild('GroupingLabels');
    return list === null ? [] : this.#names(list);
  }

  #names(list: SyntaxNode): readonly string[] {
    return children(list).map((label) => {
      const text = this.#of(label);
      return /^["'`]/.test(text) ? unquote(text) : text;
    });
  }

  #duration(node: SyntaxNode): number {
    const text = this.#of(node).replaceAll(/\s/g, '');
    const milliseconds = parseDuration(text);
    if (node.name === 'DurationExpr' && milliseconds <= 0) {
      throw syntaxError(this.#text, node.from, 'a range must be positive');
    }
    return milliseconds;
  }

  #first(node: SyntaxNode): SyntaxNode {
    const { firstChild } = node;
    if (firstChild === null) throw this.#unsupported(node);
    return firstChild;
  }

  #child(node: SyntaxNode, name: string): SyntaxNode {
    const found = node.getChild(name);
    if (found === null) throw this.#unsupported(node);
    return found;
  }

  #of(node: SyntaxNode): string {
    return this.#text.slice(node.from, node.to);
  }

  #unsupported(node: SyntaxNode): MetricsError {
    return new MetricsError(
      'PROMQL_UNSUPPORTED',
      `"${this.#of(node).slice(0, 60)}" (${node.name}) is not supported`,
    );
  }
}

type Shiftable = Extract<Expr, TimeShift>;

function children(node: SyntaxNode): readonly SyntaxNode[] {
  const all: SyntaxNode[] = [];
  for (let child = node.firstChild; child !== null; child = child.nextSibling) all.push(child);
  return all;
}

function checkMatchers(matchers: readonly Matcher[]): void {
  // Without a matcher that excludes the empty string every series would be selected.
  const selective = matchers.some(({ op, value }) => {
    if (op === '=') return value !== '';
    if (op === '!=') return value === '';
    const matchesEmpty = compileRegex(value).test('');
    return op === '=~' ? !matchesEmpty : matchesEmpty;
  });
  if (!selective) {
    throw new MetricsError(
      'PROMQL_SYNTAX',
      'a selector needs a matcher that does not match the empty string',
    );
  }
}

/** Prometheus's anchored regular expression; `(?i)` and the like are not translated. */
export function compileRegex(source: string): RegExp {
  try {
    return new RegExp(`^(?:${source})$`, 's');
  } catch (cause) {
    throw new MetricsError('PROMQL_SYNTAX', `"${source.slice(0, 60)}" is no regular expression`, { cause });
  }
}

function parseNumber(text: string): number {
  const compact = text.replaceAll('_', '').toLowerCase();
  if (/^[+-]?inf$/.test(compact)) return compact.startsWith('-') ? -Infinity : Infinity;
  if (compact === 'nan') return NaN;
  const sign = compact.startsWith('-') ? -1 : 1;
  const bare = compact.replace(/^[+-]/, '');
  const value = Number(/^0\d+$/.test(bare) ? `0o${bare.slice(1)}` : bare);
  return sign * (Number.isNaN(value) ? parseDuration(bare) / 1_000 : value);
}

const ESCAPES: Readonly<Record<string, string>> = {
  a: '\u0007',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
};

function unquote(text: string): string {
  const inner = text.slice(1, -1);
  if (text.startsWith('`')) return inner;
  return inner.replaceAll(
    /\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{3}|.)/gs,
    (_, escape: string) => {
      if (/^[xuU]/.test(escape) && escape.length > 1)
        return String.fromCodePoint(Number.parseInt(escape.slice(1), 16));
      if (/^[0-7]{3}$/.test(escape)) return String.fromCodePoint(Number.parseInt(escape, 8));
      return ESCAPES[escape] ?? escape;
    },
  );
}
