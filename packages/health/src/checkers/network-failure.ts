import type { CheckOutcome } from '../check-result.ts';

const CERTIFICATE = /^(CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|ERR_TLS_|HOSTNAME_MISMATCH)/;
const EXPIRED = 'CERT_HAS_EXPIRED';

/** What a failed request comes to: a stable code, taken from the innermost cause, never its message. */
export function networkFailure(error: unknown): CheckOutcome {
  const code = innermostCode(error);
  if (code === EXPIRED) return { status: 'unhealthy', code: 'TLS_EXPIRED' };
  if (CERTIFICATE.test(code)) return { status: 'unhealthy', code: 'TLS_UNTRUSTED' };
  return { status: 'unhealthy', code: 'CONNECT' };
}

/** fetch hides what happened behind "fetch failed". */
function innermostCode(error: unknown): string {
  let code = '';
  let current = error;
  for (let depth = 0; depth < 5 && typeof current === 'object' && current !== null; depth += 1) {
    if ('code' in current && typeof current.code === 'string') code = current.code;
    current = 'cause' in current ? current.cause : undefined;
  }
  return code;
}
