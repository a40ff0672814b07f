const BLOCK = 65_536;
const HASH_BITS = 14;
// Shorter matches cost as much as they save.
const LEAST_MATCH = 4;

/**
 * Compresses into Snappy's block format, which remote write demands: a varint with the length, then literals and copies.
 * Greedy, with one hash table of 4-byte sequences, as the reference encoder.
 *
 * Format: google/snappy, format_description.txt.
 */
export function snappyCompress(input: Uint8Array): Buffer {
  const source = Buffer.from(input.buffer, input.byteOffset, input.byteLength);
  // Literals add at most one tag of three bytes for each 64 KiB, copies never more than they replace.
  const out = Buffer.alloc(32 + source.length + Math.ceil(source.length / 6));
  let length = writeVarint(out, source.length);
  for (let start = 0; start < source.length; start += BLOCK) {
    length = compressBlock(source.subarray(start, start + BLOCK), out, length);
  }
  return out.subarray(0, length);
}

function compressBlock(block: Buffer, out: Buffer, start: number): number {
  const table = new Int32Array(1 << HASH_BITS).fill(-1);
  let length = start;
  let literal = 0;
  let position = 0;
  while (position + LEAST_MATCH <= block.length) {
    const word = block.readUInt32LE(position);
    const hash = Math.imul(word, 0x1e35a7bd) >>> (32 - HASH_BITS);
    const candidate = table[hash] ?? -1;
    table[hash] = position;
    if (candidate < 0 || block.readUInt32LE(candidate) !== word) {
      position += 1;
      continue;
    }
    length = writeLiteral(out, length, block.subarray(literal, position));
    let matched = LEAST_MATCH;
    while (position + matched < block.length && block[candidate + matched] === block[position + matched])
      matched += 1;
    length = writeCopy(out, length, position - candidate, matched);
    position += matched;
    literal = position;
  }
  return writeLiteral(out, length, block.subarray(literal));
}

function writeLiteral(out: Buffer, start: number, bytes: Uint8Array): number {
  let length = start;
  const rest = bytes.length - 1;
  if (rest < 0) return length;
  if (rest < 60) out[length++] = rest << 2;
  else if (rest < 256) {
    out[length++] = 60 << 2;
    out[length++] = rest;
  } else {
    out[length++] = 61 << 2;
    length = out.writeUInt16LE(rest, length);
  }
  out.set(bytes, length);
  return length + bytes.length;
}

// A copy with a two-byte offset moves up to 64 bytes.
function writeCopy(out: Buffer, start: number, offset: number, matched: number): number {
  let length = start;
  for (let rest = matched; rest > 0;) {
    const part = Math.min(rest, 64);
    out[length++] = ((part - 1) << 2) | 2;
    length = out.writeUInt16LE(offset, length);
    rest -= part;
  }
  return length;
}

function writeVarint(out: Buffer, value: number): number {
  let length = 0;
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) out[length++] = (rest % 128) | 128;
  out[length++] = rest;
  return length;
}
