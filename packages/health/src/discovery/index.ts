/** Health checks that cannot hang, leak or lie, with service discovery and load balancing. */
export {};
