const encoder = new TextEncoder();

/** Writes protocol buffers into one growing buffer; a nested message is written in place and its length put in front. */
export class ProtoWriter {
  #bytes: Uint8Array<ArrayBuffer>;
  #view: DataView;
  #length = 0;

  constructor(capacity = 4_096) {
    this.#bytes = new Uint8Array(capacity);
    this.#view = new DataView(this.#bytes.buffer);
  }

  get length(): number {
    return this.#length;
  }

  /** A copy of what was written. */
  finish(): Buffer {
    return Buffer.from(this.#bytes.slice(0, this.#length).buffer);
  }

  /** An unsigned whole number below 2^53. */
  varint(value: number): this {
    this.#reserve(10);
    let rest = value;
    while (rest >= 128) {
      this.#bytes[this.#length++] = (rest % 128) | 128;
      rest = Math.floor(rest / 128);
    }
    this.#bytes[this.#length++] = rest;
    return this;
  }

  uint(field: number, value: number): this {
    return this.varint(field * 8).varint(value);
  }

  /** `sint32` and `sint64`: zig-zag. */
  sint(field: number, value: number): this {
    return this.uint(field, value < 0 ? -2 * value - 1 : 2 * value);
  }

  double(field: number, value: number): this {
    this.varint(field * 8 + 1).#reserve(8);
    this.#view.setFloat64(this.#length, value, true);
    this.#length += 8;
    return this;
  }

  string(field: number, value: string): this {
    return this.message(field, () => this.#text(value));
  }

  /** A length-delimited field whose content `body` writes. */
  message(field: number, body: () => void): this {
    this.varint(field * 8 + 2);
    return this.delimited(body);
  }

  /** What `body` writes, with its length in front. */
  delimited(body: () => void): this {
    this.#reserve(1);
    const start = ++this.#length;
    body();
    const size = this.#length - start;
    const extra = varintSize(size) - 1;
    if (extra > 0) {
      this.#reserve(extra);
      this.#bytes.copyWithin(start + extra, start, this.#length);
    }
    this.#length = start - 1;
    this.varint(size);
    this.#length += size;
    return this;
  }

  #text(value: string): void {
    this.#reserve(value.length * 3);
    this.#length += encoder.encodeInto(value, this.#bytes.subarray(this.#length)).written;
  }

  #reserve(count: number): void {
    if (this.#length + count <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(this.#bytes.length * 2, this.#length + count));
    grown.set(this.#bytes);
    this.#bytes = grown;
    this.#view = new DataView(grown.buffer);
  }
}

function varintSize(value: number): number {
  let size = 1;
  for (let rest = value; rest >= 128; rest = Math.floor(rest / 128)) size += 1;
  return size;
}
