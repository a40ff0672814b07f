/** Retries that cannot storm and circuit breakers that cannot stick, on p-retry and opossum. */
export {};
