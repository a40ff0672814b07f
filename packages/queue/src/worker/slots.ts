/** What asks for slots. */
export interface SlotTaker {
  /** There are slots now. */
  kick(): void;
}

/** The slots of a worker pool, shared fairly by its queues: who cannot get one waits in line. */
export class Slots {
  readonly #line: SlotTaker[] = [];
  #total: number;
  #used = 0;

  constructor(total: number) {
    this.#total = total;
  }

  get total(): number {
    return this.#total;
  }

  get used(): number {
    return this.#used;
  }

  get free(): number {
    return Math.max(0, this.#total - this.#used);
  }

  resize(total: number): void {
    this.#total = total;
    this.#serve();
  }

  /** Whether somebody else has to have a turn first. */
  contended(taker: SlotTaker): boolean {
    return this.#line.length > 0 && this.#line[0] !== taker;
  }

  /** Takes up to `max`, or gets in line. */
  take(taker: SlotTaker, max: number): number {
    if (this.contended(taker) || this.free === 0) {
      if (!this.#line.includes(taker)) this.#line.push(taker);
      return 0;
    }
    if (this.#line[0] === taker) this.#line.shift();
    const taken = Math.min(max, this.free);
    this.#used += taken;
    return taken;
  }

  /** Takes back what was lent, be it free or not. */
  retake(count: number): void {
    this.#used += count;
  }

  release(count: number): void {
    if (count === 0) return;
    this.#used -= count;
    this.#serve();
  }

  /** Gets out of the line; whoever comes next is told. */
  leave(taker: SlotTaker): void {
    const index = this.#line.indexOf(taker);
    if (index < 0) return;
    this.#line.splice(index, 1);
    if (index === 0) this.#serve();
  }

  #serve(): void {
    if (this.free > 0) this.#line[0]?.kick();
  }
}
