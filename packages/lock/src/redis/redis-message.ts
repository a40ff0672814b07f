import type { BackendListener } from '../backend.ts';

/** Reads one message of a process's channel: `g`rant, `c`ontended, `r`evoked or deadlock `v`ictim. */
export function deliver(message: string, listener: BackendListener): void {
  const kind = message.slice(0, 2);
  const [, id = '', second = '', third = '', fourth = '', fifth = ''] = message.split('|');
  if (kind === 'g|') {
    listener.onGrant({
      holdId: id,
      token: Number(second),
      serverTime: Number(third),
      lease: Number(fourth),
      contended: fifth === '1',
    });
  } else if (kind === 'c|') listener.onContended(id, second === '1');
  else if (kind === 'r|') listener.onRevoked(id);
  else if (kind === 'v|') listener.onVictim(id, message.slice(id.length + 3));
}
