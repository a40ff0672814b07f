import type { Socket } from 'node:net';

/** What one {@link Lane} does with what it carries. */
export interface LaneRules {
  /** Milliseconds that each chunk travels. */
  latencyMs(): number;
  /** Sees each chunk before it travels; `false` keeps it from the other side. */
  admit(chunk: Buffer): boolean;
}

interface Parcel {
  readonly due: number;
  /** `undefined` is the end of the stream. */
  readonly chunk: Buffer | undefined;
}

/** One direction of a proxied connection: what `source` sends reaches `target` late, or never, but in order. */
export class Lane {
  readonly #source: Socket;
  readonly #target: Socket;
  readonly #rules: LaneRules;
  readonly #travelling: Parcel[] = [];
  #timer: NodeJS.Timeout | undefined;
  #held = false;
  #closed = false;

  constructor(source: Socket, target: Socket, rules: LaneRules) {
    this.#source = source;
    this.#target = target;
    this.#rules = rules;
    source.on('data', (chunk: Buffer) => {
      if (!this.#closed && rules.admit(chunk)) this.#send(chunk);
    });
    source.on('end', () => this.#send(undefined));
    target.on('drain', () => this.#resumeSource());
  }

  /** Nothing passes and nothing is read, so the sender's buffers fill up, as behind a cut cable. */
  hold(): void {
    this.#held = true;
    this.#source.pause();
    clearTimeout(this.#timer);
  }

  /** What was held arrives now, as TCP repeats what was not acknowledged. */
  release(): void {
    this.#held = false;
    this.#resumeSource();
    this.#deliver();
  }

  /** What still travels is lost; what comes later is read and thrown away. */
  close(): void {
    this.#closed = true;
    this.#held = false;
    this.#travelling.length = 0;
    clearTimeout(this.#timer);
    this.#source.resume();
  }

  #send(chunk: Buffer | undefined): void {
    if (this.#closed) return;
    // Never earlier than the chunk before, even when the latency fell in between.
    const earliest = this.#travelling.at(-1)?.due ?? 0;
    this.#travelling.push({ due: Math.max(earliest, performance.now() + this.#rules.latencyMs()), chunk });
    this.#deliver();
  }

  #deliver(): void {
    clearTimeout(this.#timer);
    if (this.#held || this.#closed) return;
    for (let next = this.#travelling[0]; next !== undefined; next = this.#travelling[0]) {
      const wait = next.due - performance.now();
      if (wait > 0) {
        this.#timer = setTimeout(() => this.#deliver(), wait);
        return;
      }
      this.#travelling.shift();
      this.#write(next.chunk);
    }
  }

  #write(chunk: Buffer | undefined): void {
    if (this.#target.destroyed) return;
    if (chunk === undefined) this.#target.end();
    else if (!this.#target.write(chunk)) this.#source.pause();
  }

  #resumeSource(): void {
    if (!this.#held) this.#source.resume();
  }
}
