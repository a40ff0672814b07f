/** The part of amqplib 2 that is used, declared here so that this package's types need no amqplib. */

/** A message as amqplib hands it over. */
export interface AmqpMessage {
  readonly content: Buffer;
  readonly fields: {
    readonly deliveryTag: number;
    readonly redelivered: boolean;
    readonly routingKey: string;
  };
  readonly properties: {
    readonly messageId?: unknown;
    readonly correlationId?: unknown;
    readonly headers?: Readonly<Record<string, unknown>> | undefined;
  };
}

/** Properties of a published message. */
export interface PublishOptions {
  readonly persistent?: boolean;
  readonly mandatory?: boolean;
  readonly messageId?: string;
  readonly correlationId?: string;
  readonly headers?: Readonly<Record<string, unknown>> | undefined;
}

/** How a queue is declared. */
export interface QueueOptions {
  readonly durable: boolean;
  readonly arguments: Readonly<Record<string, unknown>>;
}

/** A channel. */
export interface AmqpChannel {
  assertQueue(name: string, options: QueueOptions): Promise<{ messageCount: number }>;
  checkQueue(name: string): Promise<{ messageCount: number; consumerCount: number }>;
  assertExchange(name: string, type: string, options: object): Promise<unknown>;
  bindQueue(queue: string, exchange: string, pattern: string): Promise<unknown>;
  bindExchange(destination: string, source: string, pattern: string): Promise<unknown>;
  prefetch(count: number): Promise<unknown>;
  consume(
    queue: string,
    listener: (message: AmqpMessage | null) => void,
    options?: { readonly arguments?: Readonly<Record<string, unknown>> },
  ): Promise<{ consumerTag: string }>;
  cancel(consumerTag: string): Promise<unknown>;
  get(queue: string, options: object): Promise<AmqpMessage | false>;
  ack(message: { readonly fields: { readonly deliveryTag: number } }, allUpTo?: boolean): void;
  nack(
    message: { readonly fields: { readonly deliveryTag: number } },
    allUpTo?: boolean,
    requeue?: boolean,
  ): void;
  publish(
    exchange: string,
    routingKey: string,
    content: Buffer,
    options: PublishOptions,
    confirmed?: (error: unknown) => void,
  ): boolean;
  close(): Promise<unknown>;
  on(event: string, listener: (...args: unknown[]) => void): unknown;
  once(event: string, listener: (...args: unknown[]) => void): unknown;
}

/** A connection. */
export interface AmqpConnection {
  readonly connection: {
    readonly serverProperties: Readonly<Record<string, unknown>>;
    readonly stream: { destroy(): void; cork(): void; uncork(): void };
  };
  createChannel(options?: { readonly highWaterMark?: number }): Promise<AmqpChannel>;
  createConfirmChannel(options?: { readonly highWaterMark?: number }): Promise<AmqpChannel>;
  close(): Promise<void>;
  on(event: string, listener: (...args: unknown[]) => void): unknown;
}

/** Connects; `timeout` bounds the whole handshake. */
export type AmqpConnect = (url: string, options: object) => Promise<AmqpConnection>;
