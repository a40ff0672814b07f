/** Real servers for the tests. */
export {};
