import { findBinary } from './find-binary.ts';

/** The path of Chromium, for `executablePath` of playwright-core. */
export function chromiumPath(): string {
  return findBinary('chromium', 'chromium');
}
