/** How deep the paths of a type are followed; below that any path is accepted. */
type Depth = [never, 0, 1, 2, 3, 4, 5, 6, 7];

type Leaf =
  | string
  | number
  | boolean
  | bigint
  | symbol
  | null
  | undefined
  | Date
  | ((...args: never[]) => unknown);

type Key<T> = Extract<keyof T, string>;

/** Whether a type is `unknown` or `any`. */
type IsUnknown<T> = unknown extends T ? true : false;

/** The dotted paths of a configuration of type `T`; any string when `T` is unknown. */
export type Path<T, D extends number = 7> =
  IsUnknown<T> extends true ? string : [D] extends [never] ? string : PathOf<NonNullable<T>, D>;

type PathOf<T, D extends number> = T extends Leaf
  ? never
  : T extends readonly (infer Item)[]
    ? `${number}` | `${number}.${Path<Item, Depth[D]>}`
    : { [K in Key<T>]: K | `${K}.${Path<T[K], Depth[D]>}` }[Key<T>];

/** The type of the value at path `P` of a configuration of type `T`. */
export type PathValue<T, P extends string> =
  IsUnknown<T> extends true
    ? unknown
    : ValueOf<NonNullable<T>, P> | (undefined extends T ? undefined : never);

type ValueOf<T, P extends string> =
  P extends Key<T>
    ? T[P]
    : T extends readonly (infer Item)[]
      ? P extends `${number}.${infer Rest}`
        ? PathValue<Item, Rest>
        : P extends `${number}`
          ? Item | undefined
          : unknown
      : P extends `${infer Head}.${infer Rest}`
        ? Head extends Key<T>
          ? PathValue<T[Head], Rest>
          : unknown
        : unknown;
