/** Prometheus instruments at nanoseconds, a time-series store with PromQL, and alerts. */
export {};
