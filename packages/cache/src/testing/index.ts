/**
 * For tests of your own eviction policies.
 *
 * @module
 */
export {};
