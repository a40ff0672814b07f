/** The medical request service. */
export {};
