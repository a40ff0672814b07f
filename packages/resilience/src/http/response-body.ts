import { onAbort, withTimeout } from '@xiaoke/core';

// A response with these statuses may not be made with a body.
const BODILESS: ReadonlySet<number> = new Set([101, 103, 204, 205, 304]);

/** Reads the whole body and gives a response that has it. */
export async function bufferResponse(response: Response): Promise<Response> {
  const bytes = await response.arrayBuffer();
  return copyOf(response, BODILESS.has(response.status) ? null : bytes);
}

/**
 * A response whose body is still coming. The attempt is over, so its signal does nothing any more; the caller's own signal
 * goes on to end the body, and is let go of when the body ends.
 */
export function streamResponse(
  response: Response,
  caller: AbortSignal | undefined,
  attempt: AbortSignal,
): Response {
  const { body } = response;
  if (body === null || caller === undefined || attempt.aborted) return response;
  const relay = new TransformStream<Uint8Array, Uint8Array>();
  const stop = new AbortController();
  const unlink = onAbort(caller, (reason) => stop.abort(reason));
  body.pipeTo(relay.writable, { signal: stop.signal }).then(unlink, unlink);
  return copyOf(response, relay.readable);
}

const WORTH_READING = 64 * 1_024;
const PATIENCE = 1_000;

/**
 * Gets rid of a response that nobody wants. A short body is read to its end, since that frees its connection for the next
 * request; cancelling a body costs the connection.
 */
export async function drainResponse(response: unknown): Promise<void> {
  if (!(response instanceof Response) || response.body === null || response.bodyUsed) return;
  const reader = response.body.getReader();
  const read = async (): Promise<void> => {
    for (let size = 0; size < WORTH_READING;) {
      const { done, value } = await reader.read();
      if (done) return;
      size += value.byteLength;
    }
    await reader.cancel();
  };
  await withTimeout(read(), PATIENCE, 'the body', { ref: false }).catch(() => reader.cancel());
}

function copyOf(response: Response, body: ArrayBuffer | ReadableStream<Uint8Array> | null): Response {
  const { status, statusText, headers, url, redirected, type } = response;
  const copy = new Response(body, { status, statusText, headers });
  // The constructor has no say in these.
  return Object.defineProperties(copy, {
    url: { value: url },
    redirected: { value: redirected },
    type: { value: type },
  });
}
