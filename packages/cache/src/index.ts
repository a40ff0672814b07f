/** A two-tier cache: never a stale read after an invalidation, never a stampede. */
export {};
