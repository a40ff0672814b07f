import { MetricsError } from '../../errors.ts';
import { isComparison, type Expr } from './ast.ts';
import { dropName, labelKey, projectLabels, type Labels, type Sample } from './values.ts';

type Binary = Extract<Expr, { kind: 'binary' }>;

/** One arithmetic operation or comparison (1 for true). */
export function operate(op: string, a: number, b: number): number {
  switch (op) {
    case '+':
      return a + b;
    case '-':
      return a - b;
    case '*':
      return a * b;
    case '/':
      return a / b;
    case '%':
      return a % b;
    case '^':
      return a ** b;
    case 'atan2':
      return Math.atan2(a, b);
    case '==':
      return a === b ? 1 : 0;
    case '!=':
      return a === b ? 0 : 1;
    case '>':
      return a > b ? 1 : 0;
    case '<':
      return a < b ? 1 : 0;
    case '>=':
      return a >= b ? 1 : 0;
    case '<=':
      return a <= b ? 1 : 0;
    default:
      throw new MetricsError('PROMQL_UNSUPPORTED', `the operator ${op} is not supported`);
  }
}

/** A vector with a number; `flipped` when the number stands on the left. */
export function withScalar(
  expr: Binary,
  samples: readonly Sample[],
  scalar: number,
  flipped: boolean,
): Sample[] {
  const { op, bool } = expr;
  const filters = isComparison(op) && !bool;
  const results: Sample[] = [];
  for (const sample of samples) {
    const result = flipped ? operate(op, scalar, sample.value) : operate(op, sample.value, scalar);
    if (filters && result === 0) continue;
    results.push(filters ? sample : { labels: dropName(sample.labels), value: result });
  }
  return results;
}

/** `and`, `or`, `unless`. */
export function combineSets(
  expr: Binary,
  left: readonly Sample[],
  right: readonly Sample[],
): readonly Sample[] {
  const signature = signatureOf(expr);
  const others = new Set(right.map(({ labels }) => signature(labels)));
  if (expr.op === 'and') return left.filter(({ labels }) => others.has(signature(labels)));
  if (expr.op === 'unless') return left.filter(({ labels }) => !others.has(signature(labels)));
  const own = new Set(left.map(({ labels }) => signature(labels)));
  return [...left, ...right.filter(({ labels }) => !own.has(signature(labels)))];
}

/** Arithmetic and comparisons between the series of two vectors that match. */
export function matchVectors(
  expr: Binary,
  left: readonly Sample[],
  right: readonly Sample[],
): readonly Sample[] {
  const signature = signatureOf(expr);
  // `one` is the side on which a match must be unique.
  const swapped = expr.group?.side === 'right';
  const [many, one] = swapped ? [right, left] : [left, right];
  const unique = indexOnce(one, signature, swapped ? 'left' : 'right');
  const filters = isComparison(expr.op) && !expr.bool;
  const results = new Map<string, Sample>();
  const used = new Set<string>();
  for (const sample of many) {
    const key = signature(sample.labels);
    const partner = unique.get(key);
    if (partner === undefined) continue;
    const [a, b] = swapped ? [partner, sample] : [sample, partner];
    const result = operate(expr.op, a.value, b.value);
    if (filters && result === 0) continue;
    const labels = resultLabels(expr, sample.labels, partner.labels);
    const own = labelKey(labels);
    if (results.has(own) || (expr.group === undefined && used.has(key))) {
      throw new MetricsError('PROMQL_EVALUATION', 'several series match one: use group_left or group_right');
    }
    used.add(key);
    results.set(own, { labels, value: filters ? a.value : result });
  }
  return [...results.values()];
}

function indexOnce(
  samples: readonly Sample[],
  signature: (labels: Labels) => string,
  side: string,
): ReadonlyMap<string, Sample> {
  const unique = new Map<string, Sample>();
  for (const sample of samples) {
    const key = signature(sample.labels);
    if (unique.has(key)) {
      throw new MetricsError(
        'PROMQL_EVALUATION',
        `several series on the ${side} side match; many-to-many matching is not allowed`,
      );
    }
    unique.set(key, sample);
  }
  return unique;
}

function signatureOf(expr: Binary): (labels: Labels) => string {
  const { labels: names, keep } = expr.matching ?? { labels: [], keep: false };
  return (labels) => labelKey(projectLabels(labels, names, keep));
}

function resultLabels(expr: Binary, many: Labels, one: Labels): Labels {
  const keepsName = isComparison(expr.op) && !expr.bool;
  const base = keepsName ? many : dropName(many);
  if (expr.group === undefined) {
    if (expr.matching === undefined) return base;
    const { labels, keep } = expr.matching;
    if (keep) return projectLabels(base, labels, true);
    const rest: Record<string, string> = { ...base };
    for (const name of labels) delete rest[name];
    return rest;
  }
  const result: Record<string, string> = { ...base };
  for (const name of expr.group.include) {
    if (Object.hasOwn(one, name)) result[name] = one[name] ?? '';
    else delete result[name];
  }
  return result;
}
