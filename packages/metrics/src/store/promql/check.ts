import { MetricsError } from '../../errors.ts';
import { AGGREGATIONS, PARAMETRIC } from './aggregate.ts';
import { isComparison, isSetOperator, type Expr, type ValueType } from './ast.ts';
import { SIGNATURES } from './functions.ts';

/**
 * The type of an expression; everything that cannot be evaluated is refused here, by name, before any sample is read.
 *
 * @throws `PROMQL_UNSUPPORTED`, `PROMQL_SYNTAX`
 */
export function checkExpr(expr: Expr): ValueType {
  switch (expr.kind) {
    case 'number':
      return 'scalar';
    case 'string':
      return 'string';
    case 'vector':
      return 'vector';
    case 'matrix':
      return 'matrix';
    case 'subquery':
      need(expr.expr, 'vector', 'a subquery');
      return 'matrix';
    case 'paren':
      return checkExpr(expr.expr);
    case 'negate': {
      const type = checkExpr(expr.expr);
      if (type !== 'scalar' && type !== 'vector') throw wrong('a unary minus', 'a scalar or a vector', type);
      return type;
    }
    case 'call':
      return checkCall(expr);
    case 'aggregate':
      return checkAggregate(expr);
    case 'binary':
      return checkBinary(expr);
  }
}

function checkCall(expr: Extract<Expr, { kind: 'call' }>): ValueType {
  const signature = Object.hasOwn(SIGNATURES, expr.name) ? SIGNATURES[expr.name] : undefined;
  if (signature === undefined) {
    throw new MetricsError('PROMQL_UNSUPPORTED', `the function ${expr.name}() is not supported`, {
      details: { function: expr.name },
    });
  }
  const least = signature.args.length - (signature.optional ?? 0);
  const most = signature.variadic === true ? Infinity : signature.args.length;
  if (expr.args.length < least || expr.args.length > most) {
    throw new MetricsError('PROMQL_SYNTAX', `${expr.name}() takes ${least} to ${most} arguments`);
  }
  for (const [i, argument] of expr.args.entries()) {
    need(argument, signature.args[Math.min(i, signature.args.length - 1)] ?? 'vector', `${expr.name}()`);
  }
  return signature.returns;
}

function checkAggregate(expr: Extract<Expr, { kind: 'aggregate' }>): ValueType {
  if (!AGGREGATIONS.includes(expr.op)) {
    throw new MetricsError('PROMQL_UNSUPPORTED', `the aggregation ${expr.op} is not supported`, {
      details: { aggregation: expr.op },
    });
  }
  if (PARAMETRIC.includes(expr.op) !== (expr.parameter !== undefined)) {
    throw new MetricsError('PROMQL_SYNTAX', `${expr.op} has the wrong number of arguments`);
  }
  if (expr.parameter !== undefined)
    need(expr.parameter, expr.op === 'count_values' ? 'string' : 'scalar', expr.op);
  need(expr.expr, 'vector', expr.op);
  return 'vector';
}

function checkBinary(expr: Extract<Expr, { kind: 'binary' }>): ValueType {
  const types = [checkExpr(expr.left), checkExpr(expr.right)];
  for (const type of types) {
    if (type !== 'scalar' && type !== 'vector')
      throw wrong(`the operator ${expr.op}`, 'scalars or vectors', type);
  }
  const scalars = types.filter((type) => type === 'scalar').length;
  if (isSetOperator(expr.op) && scalars > 0) {
    throw new MetricsError('PROMQL_SYNTAX', `${expr.op} combines vectors only`);
  }
  if (isComparison(expr.op) && scalars === 2 && !expr.bool) {
    throw new MetricsError('PROMQL_SYNTAX', 'a comparison between scalars needs bool');
  }
  if (expr.bool && !isComparison(expr.op)) {
    throw new MetricsError('PROMQL_SYNTAX', 'bool goes with a comparison only');
  }
  if (expr.matching !== undefined && scalars > 0) {
    throw new MetricsError('PROMQL_SYNTAX', 'on and ignoring go between vectors only');
  }
  return scalars === 2 ? 'scalar' : 'vector';
}

function need(expr: Expr, wanted: ValueType, what: string): void {
  const type = checkExpr(expr);
  if (type !== wanted) throw wrong(what, `a ${wanted}`, type);
}

function wrong(what: string, wanted: string, type: ValueType): MetricsError {
  return new MetricsError('PROMQL_SYNTAX', `${what} takes ${wanted}, not a ${type}`);
}
