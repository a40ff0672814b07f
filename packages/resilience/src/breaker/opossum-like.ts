/**
 * The part of an opossum circuit breaker that is used here, so that our types need none of opossum's. An instance of
 * opossum 8, 9 or 10 fits.
 */
export interface OpossumLike {
  readonly name: string;
  readonly opened: boolean;
  readonly closed: boolean;
  readonly halfOpen: boolean;
  readonly options?: { readonly resetTimeout?: number } | undefined;
  open(): void;
  close(): void;
  on(event: string, listener: () => void): unknown;
}
