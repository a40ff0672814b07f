/** Calls `add` so many times, with `width` calls under way at once. */
export async function inFlight(add: () => Promise<unknown>, count: number, width: number): Promise<void> {
  let left = count;
  const producer = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      await add();
    }
  };
  await Promise.all(Array.from({ length: width }, producer));
}
