// V8 on 64 bits without pointer compression; a string is one byte a character when all fit in Latin-1.
const STRING_HEAD = 24;
const OBJECT_HEAD = 32;
const SLOT = 8;
const BOXED = 16;
const COLLECTION_SLOT = 40;
const BUFFER_HEAD = 96;
/** What the cache itself needs for an entry. */
const ENTRY = 320;
const MAX_NODES = 10_000;

/**
 * Estimates how many bytes a value takes on the heap. Exact enough to bound memory, quick enough for every write: beyond
 * ten thousand nodes the rest is extrapolated.
 */
export function sizeOf(value: unknown): number {
  const pending: unknown[] = [value];
  const seen = new Set<object>();
  let bytes = 0;
  for (let nodes = 0; pending.length > 0; nodes += 1) {
    if (nodes === MAX_NODES) return Math.round((bytes / nodes) * (nodes + pending.length));
    const next = pending.pop();
    if (typeof next !== 'object' || next === null) bytes += sizeOfPrimitive(next);
    else if (!seen.has(next)) {
      seen.add(next);
      bytes += sizeOfObject(next, pending);
    }
  }
  return bytes;
}

/** The weight of an entry: key, value and bookkeeping. */
export function weightOf(key: string, value: unknown): number {
  return ENTRY + sizeOfPrimitive(key) + sizeOf(value);
}

function sizeOfPrimitive(value: unknown): number {
  if (typeof value === 'string') return STRING_HEAD + value.length * (isLatin1(value) ? 1 : 2);
  if (typeof value === 'bigint') return STRING_HEAD;
  // A small whole number lies in the slot that holds it, which is counted with its object.
  return typeof value === 'number' && !Number.isInteger(value) ? BOXED : 0;
}

// A sample decides: a long text is rarely Latin-1 at both ends and not between.
function isLatin1(text: string): boolean {
  const step = Math.max(1, Math.floor(text.length / 64));
  for (let i = 0; i < text.length; i += step) if (text.charCodeAt(i) > 255) return false;
  return true;
}

function sizeOfObject(value: object, pending: unknown[]): number {
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) return BUFFER_HEAD + value.byteLength;
  if (Array.isArray(value)) {
    push(pending, value);
    return OBJECT_HEAD + value.length * SLOT;
  }
  if (value instanceof Map) {
    push(pending, value.keys());
    push(pending, value.values());
    return OBJECT_HEAD + value.size * COLLECTION_SLOT;
  }
  if (value instanceof Set) {
    push(pending, value);
    return OBJECT_HEAD + value.size * COLLECTION_SLOT;
  }
  if (value instanceof Date) return BUFFER_HEAD;
  const properties: unknown[] = Object.values(value);
  push(pending, properties);
  return OBJECT_HEAD + properties.length * SLOT;
}

// push(...items) would overflow the stack for a large array.
function push(pending: unknown[], items: Iterable<unknown>): void {
  for (const item of items) pending.push(item);
}
