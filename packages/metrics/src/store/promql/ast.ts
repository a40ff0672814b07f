/** How a label is compared. */
export interface Matcher {
  readonly name: string;
  readonly op: '=' | '!=' | '=~' | '!~';
  readonly value: string;
}

/** `offset` and `@`, in milliseconds. */
export interface TimeShift {
  readonly offset: number;
  readonly at: number | 'start' | 'end' | undefined;
}

/** Which labels decide what belongs together. */
export interface Grouping {
  readonly labels: readonly string[];
  /** `by`/`on`, or `without`/`ignoring`. */
  readonly keep: boolean;
}

/** A parsed PromQL expression. */
export type Expr =
  | { readonly kind: 'number'; readonly value: number }
  | { readonly kind: 'string'; readonly value: string }
  | ({ readonly kind: 'vector'; readonly matchers: readonly Matcher[] } & TimeShift)
  | ({ readonly kind: 'matrix'; readonly matchers: readonly Matcher[]; readonly range: number } & TimeShift)
  | ({
      readonly kind: 'subquery';
      readonly expr: Expr;
      readonly range: number;
      readonly step: number | undefined;
    } & TimeShift)
  | { readonly kind: 'paren'; readonly expr: Expr }
  | { readonly kind: 'negate'; readonly expr: Expr }
  | { readonly kind: 'call'; readonly name: string; readonly args: readonly Expr[] }
  | {
      readonly kind: 'aggregate';
      readonly op: string;
      readonly grouping: Grouping | undefined;
      readonly parameter: Expr | undefined;
      readonly expr: Expr;
    }
  | {
      readonly kind: 'binary';
      readonly op: string;
      readonly left: Expr;
      readonly right: Expr;
      readonly bool: boolean;
      readonly matching: Grouping | undefined;
      /** Which side may match several times, and which labels the other side lends. */
      readonly group: { readonly side: 'left' | 'right'; readonly include: readonly string[] } | undefined;
    };

/** What an expression gives: `scalar`, an instant `vector`, a range `matrix` or a `string`. */
export type ValueType = 'scalar' | 'vector' | 'matrix' | 'string';

const COMPARISONS: readonly string[] = ['==', '!=', '>', '<', '>=', '<='];
const SET_OPERATORS: readonly string[] = ['and', 'or', 'unless'];

/** Whether `op` compares. */
export function isComparison(op: string): boolean {
  return COMPARISONS.includes(op);
}

/** Whether `op` combines sets of series. */
export function isSetOperator(op: string): boolean {
  return SET_OPERATORS.includes(op);
}
