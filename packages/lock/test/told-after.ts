/**
 * Milliseconds from `sent` until the holder is told, less what a timer for the same moment was late here: on a busy machine
 * no timer is in time.
 */
export async function toldAfter(
  signal: AbortSignal,
  { sent, deadline }: { readonly sent: number; readonly deadline: number },
): Promise<number> {
  const told = new Promise<number>((resolve) => {
    signal.addEventListener('abort', () => resolve(performance.now() - sent), { once: true });
  });
  const fired = new Promise<number>((resolve) => {
    setTimeout(() => resolve(performance.now() - sent), Math.max(0, sent + deadline - performance.now()));
  });
  return (await told) - Math.max(0, (await fired) - deadline);
}
