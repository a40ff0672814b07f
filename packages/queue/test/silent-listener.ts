import type { SessionListener } from '../src/backend.ts';

/** A session's listener that holds nothing and acts on nothing, for tests that drive a backend by hand. */
export const listener: SessionListener = {
  onCancel: () => {},
  onError: () => {},
  onDelay: () => {},
  onLost: () => {},
  held: () => [],
};
